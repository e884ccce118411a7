/* SPDX-License-Identifier: GPL-2.0-or-later
 * An Edge Relay's explicit address mappings (RFC 7757), looked up by longest prefix: hosts first, which is one step however
 * many there are, then prefixes, which is one step a bit in the worst case, each where the last one was not.
 *
 * All have what it takes to get from an address to the one that it stands for: the prefix across, how many low bits of
 * IPv4 follow it, and how far to the left of IPv6's end these lie, where its suffix is the longer one. A CLAT's tables are
 * empty, and the programs that the kernel makes for it have nothing of this.
 */
#ifndef CLATNM_MAPPINGS_H
#define CLATNM_MAPPINGS_H

#include "config.h"
#include "helpers.h"

struct mapped {
	__u64 first, second; /* the prefix across, in wire order; an IPv4 one is the first half of `first` */
	__u64 mask;	     /* the IPv4 suffix, in the host's order */
	__u64 shift;
};

struct map_definition hosts_ipv4 SEC("maps") = {
	.type = BPF_MAP_TYPE_HASH,
	.key_size = 8, /* the address, and nothing */
	.value_size = sizeof(struct mapped),
	.max_entries = 1,
};

struct map_definition hosts_ipv6 SEC("maps") = {
	.type = BPF_MAP_TYPE_HASH,
	.key_size = sizeof(struct address),
	.value_size = sizeof(struct mapped),
	.max_entries = 1,
};

struct map_definition prefixes_ipv4 SEC("maps") = {
	.type = BPF_MAP_TYPE_LPM_TRIE,
	.key_size = 8, /* struct bpf_lpm_trie_key: the prefix length, and the address */
	.value_size = sizeof(struct mapped),
	.max_entries = 1,
	.flags = BPF_F_NO_PREALLOC,
};

struct map_definition prefixes_ipv6 SEC("maps") = {
	.type = BPF_MAP_TYPE_LPM_TRIE,
	.key_size = 20,
	.value_size = sizeof(struct mapped),
	.max_entries = 1,
	.flags = BPF_F_NO_PREALLOC,
};

/* RFC 7757 3.3.1. False: the address is not mapped. */
inlined int map_to_ipv6(__u32 v4, struct address *v6)
{
	__u64 host = pair(v4, 0), key = pair(32, v4), suffix, shift;
	const struct mapped *found = map_lookup(&hosts_ipv4, &host);

	if (!found && config.prefixes4)
		found = map_lookup(&prefixes_ipv4, &key);
	if (!found)
		return 0;
	suffix = be32(v4) & found->mask;
	shift = found->shift;
	*v6 = (struct address){ found->first, found->second };
	if (shift >= 64) {
		v6->first |= be64(suffix << (shift & 63));
	} else {
		v6->second |= be64(suffix << (shift & 63));
		v6->first |= be64(suffix >> 1 >> (63 - (shift & 63)));
	}
	return 1;
}

/* RFC 7757 3.3.2. False: the address is not mapped. */
inlined int map_to_ipv4(struct address v6, __u32 *v4)
{
	__u64 first = be64(v6.first), second = be64(v6.second), suffix, shift, key[3];
	const struct mapped *found = map_lookup(&hosts_ipv6, &v6);

	if (!found && config.prefixes6) {
		key[0] = pair(128, be32(first >> 32));
		key[1] = pair(be32(first), be32(second >> 32));
		key[2] = pair(be32(second), 0);
		found = map_lookup(&prefixes_ipv6, key);
	}
	if (!found)
		return 0;
	shift = found->shift;
	suffix = shift >= 64 ? first >> (shift & 63) : second >> (shift & 63) | first << 1 << (63 - (shift & 63));
	*v4 = be32((be64(found->first) >> 32) | (suffix & found->mask));
	return 1;
}

#endif

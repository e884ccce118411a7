/* SPDX-License-Identifier: GPL-2.0-or-later
 * What the programs are told, the headers they work on, and how IPv4 addresses lie in the NAT64 prefix (RFC 6052).
 */
#ifndef CLATNM_CONFIG_H
#define CLATNM_CONFIG_H

#include <linux/in.h>
#include <linux/in6.h>

#include "helpers.h"

/* Filled in before the programs are loaded, then frozen: to the verifier these are constants. Addresses: wire order. */
struct config {
	__u32 clat_v4;
	__u32 clat_v6[4];
	__u32 prefix[4];
	__u32 prefix_length;
	__u32 gateway[4];
	__u32 has_gateway;
	__u32 device; /* ifindex of the TUN */
	__u32 uplink; /* ifindex */
	__u32 ipv4_mtu;
	__u32 ipv6_mtu;
	__u32 global_only; /* the prefix is 64:ff9b::/96 and stands for global addresses only (RFC 6052 3.1) */
	__u32 shared;      /* clat_v6 is the host's own address too; see flows.h */
	__u32 relay;       /* the addresses of translated traffic are those of the tables; see mappings.h */
	__u32 prefixes4;   /* in these are IPv4 prefixes, not only hosts */
	__u32 prefixes6;   /* the same of IPv6 */
};
const volatile struct config config = {};

/* Headers as they are read: in wire order. */
struct ipv4 {
	__u8 version_length, tos;
	__u16 length, ident, fragment;
	__u8 ttl, protocol;
	__u16 checksum;
	__u32 source, destination;
} __attribute__((aligned(8)));

struct address {
	__u64 first, second;
};

struct ipv6 {
	__u64 head; /* version: 4 bits, class: 8, label: 20, length: 16, next header: 8, hop limit: 8 */
	struct address source, destination;
};

#define IPV4_BYTES 20
#define IPV6_BYTES 40

/* Two words that follow each other in memory, as one. */
inlined __u64 pair(__u32 first, __u32 second)
{
	return be64((__u64)be32(first) << 32 | be32(second));
}

inlined struct address address(const volatile __u32 *words)
{
	return (struct address){ pair(words[0], words[1]), pair(words[2], words[3]) };
}

inlined int same(struct address a, struct address b)
{
	return a.second == b.second && a.first == b.first;
}

/*
 * RFC 6052 2.2: the IPv4 address follows the prefix and skips bits 64 to 71. With a prefix of 32 to 64 bits it begins in
 * the first half of the IPv6 address, with 64 - length bits of it, and goes on behind the zero octet of the second half.
 */
inlined struct address embed(__u32 v4)
{
	struct address prefix = address(config.prefix);
	__u32 length = config.prefix_length;
	__u64 a = be32(v4);

	if (length == 96)
		return (struct address){ prefix.first, prefix.second | be64(a) };
	return (struct address){ prefix.first | be64(a >> (length - 32)), be64(a << 32 << (64 - length) >> 8) };
}

/* The embedded address; 0, which `unfit` refuses, when prefix or zero octet does not match. The suffix is ignored. */
inlined __u32 extract(struct address v6)
{
	__u64 first = be64(v6.first), second = be64(v6.second);
	struct address prefix = address(config.prefix);
	__u32 length = config.prefix_length;

	if (length == 96)
		return v6.first == prefix.first && second >> 32 == be64(prefix.second) >> 32 ? be32(second) : 0;
	if ((first ^ be64(prefix.first)) >> (64 - length) || second >> 56)
		return 0;
	return be32(first << (length - 32) | second << 8 >> 32 >> (64 - length));
}

#endif

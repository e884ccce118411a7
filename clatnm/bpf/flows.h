/* SPDX-License-Identifier: GPL-2.0-or-later
 * Sharing the host's own IPv6 address: what has been sent is remembered, and only answers to it are taken. All else that
 * comes to the address is the host's, so that its own IPv6 traffic, even with hosts behind the same NAT64, goes on.
 *
 * A flow is remembered by the programs on the device, whether a packet was translated here or in the process. An answer
 * is recognised by its ports, an ICMPv6 error by those of the packet it quotes, a fragment by its datagram's first one.
 */
#ifndef CLATNM_FLOWS_H
#define CLATNM_FLOWS_H

#include "config.h"
#include "helpers.h"

struct flow {
	__u64 ends;     /* remote IPv4 address, local port, remote port; an echo's identifier stands for both ports */
	__u64 protocol; /* as IPv6 counts; those without ports have 0 for them */
};

struct datagram {
	struct address source;
	__u64 ident;
};

struct map_definition flows SEC("maps") = {
	.type = BPF_MAP_TYPE_LRU_HASH,
	.key_size = sizeof(struct flow),
	.value_size = sizeof(__u32),
	.max_entries = 32768,
};

struct map_definition datagrams SEC("maps") = {
	.type = BPF_MAP_TYPE_LRU_HASH,
	.key_size = sizeof(struct datagram),
	.value_size = sizeof(__u32),
	.max_entries = 1024,
};

#define FRAGMENT 44
#define FRAGMENT_BYTES 8
#define ICMP_HEADER_BYTES 8
#define ICMP_ERRORS 127 /* ICMPv6 types up to this one quote a packet */

/* The key of a packet's flow; its remote end is the packet's source or destination. False if it ends too early. */
inlined int key_of(struct __sk_buff *skb, __u32 upper, __u8 protocol, __u32 remote, int remote_is_source,
		   struct flow *flow)
{
	__u64 head = 0, first = 0, second = 0;

	if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_ICMPV6) {
		if (load_bytes(skb, upper, &head, sizeof(head)))
			return 0;
		head = be64(head);
		first = protocol == IPPROTO_ICMPV6 ? head >> 16 & 0xffff : head >> 48;
		second = protocol == IPPROTO_ICMPV6 ? first : head >> 32 & 0xffff;
	}
	flow->ends = (__u64)remote << 32 | (remote_is_source ? second << 16 | first : first << 16 | second);
	flow->protocol = protocol;
	return 1;
}

inlined void remember(void *map, const void *key)
{
	__u64 value = 1;

	if (!map_lookup(map, key))
		map_update(map, key, &value, BPF_ANY);
}

/* Is a Fragment header, as a number, that of a datagram's first fragment? Only that one has ports. */
inlined int is_first(__u64 fragment)
{
	return !(fragment >> 32 & 0xfff8);
}

/* An IPv6 packet that leaves for the network: expect its answers. The header begins at `l2`. */
inlined void expect(struct __sk_buff *skb, __u32 l2)
{
	__u32 upper = l2 + IPV6_BYTES;
	struct flow flow = {};
	struct ipv6 ip = {};
	__u64 fragment = 0;
	__u8 protocol;

	if (load_bytes(skb, l2, &ip, IPV6_BYTES))
		return;
	protocol = be64(ip.head) >> 8;
	if (protocol == FRAGMENT) {
		if (load_bytes(skb, upper, &fragment, FRAGMENT_BYTES) || !is_first(be64(fragment)))
			return;
		protocol = be64(fragment) >> 56;
		upper += FRAGMENT_BYTES;
	}
	if (key_of(skb, upper, protocol, extract(ip.destination), 0, &flow))
		remember(&flows, &flow);
}

/* The packet that an ICMPv6 error quotes: was it ours? */
inlined int quotes_ours(struct __sk_buff *skb, __u32 quoted)
{
	__u32 upper = quoted + IPV6_BYTES;
	struct flow flow = {};
	struct ipv6 ip = {};
	__u64 fragment = 0;
	__u8 protocol;

	if (load_bytes(skb, quoted, &ip, IPV6_BYTES))
		return 0;
	protocol = be64(ip.head) >> 8;
	if (protocol == FRAGMENT) {
		if (load_bytes(skb, upper, &fragment, FRAGMENT_BYTES))
			return 0;
		protocol = be64(fragment) >> 56;
		upper += FRAGMENT_BYTES;
	}
	return key_of(skb, upper, protocol, extract(ip.destination), 0, &flow) && map_lookup(&flows, &flow);
}

/* An IPv6 packet for the shared address: is it an answer to something the translator sent? */
inlined int expected(struct __sk_buff *skb, __u32 l2, const struct ipv6 *ip)
{
	__u32 upper = l2 + IPV6_BYTES;
	struct datagram datagram = {};
	struct flow flow = {};
	__u8 protocol = be64(ip->head) >> 8;
	int fragmented = protocol == FRAGMENT;
	__u64 fragment = 0, type = 0;

	if (protocol == IPPROTO_ICMPV6) {
		if (load_bytes(skb, upper, &type, 1))
			return 0;
		if (be64(type) >> 56 <= ICMP_ERRORS)
			return quotes_ours(skb, upper + ICMP_HEADER_BYTES);
	}
	if (fragmented && load_bytes(skb, upper, &fragment, FRAGMENT_BYTES))
		return 0;
	datagram.source = ip->source;
	datagram.ident = be64(fragment) & 0xffffffff;
	if (fragmented) {
		if (!is_first(be64(fragment)))
			return map_lookup(&datagrams, &datagram) != 0;
		protocol = be64(fragment) >> 56;
		upper += FRAGMENT_BYTES;
	}
	if (!key_of(skb, upper, protocol, extract(ip->source), 1, &flow) || !map_lookup(&flows, &flow))
		return 0;
	if (fragmented)
		remember(&datagrams, &datagram);
	return 1;
}

#endif

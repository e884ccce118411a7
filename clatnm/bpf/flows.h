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
	__u32 remote; /* IPv4, wire order */
	__u16 local_port, remote_port; /* an echo's identifier stands for both; 0 for protocols without ports */
	__u32 protocol;                /* as IPv6 counts */
};

struct datagram {
	__u32 source[4];
	__u32 ident;
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
#define ICMP_ERRORS 127 /* ICMPv6 types up to this one quote a packet */

/* Ports or identifier of the transport header at `offset`; 0 when the packet ends before. */
inlined int read_ports(struct __sk_buff *skb, __u32 offset, __u32 protocol, __u16 *source, __u16 *destination)
{
	__u16 words[4] = {};

	*source = *destination = 0;
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_ICMPV6)
		return 1;
	if (load_bytes(skb, offset, words, 8))
		return 0;
	if (protocol == IPPROTO_ICMPV6) {
		*source = *destination = words[2];
	} else {
		*source = words[0];
		*destination = words[1];
	}
	return 1;
}

inlined void remember(void *map, const void *key)
{
	__u32 value = 1;

	if (!map_lookup(map, key))
		map_update(map, key, &value, BPF_ANY);
}

/* An IPv6 packet that leaves for the network: expect its answers. The header begins at `l2`. */
inlined void expect(struct __sk_buff *skb, const __u32 l2)
{
	struct flow flow = {};
	struct ipv6 ip;
	__u8 fragment[8];
	__u32 upper = l2 + IPV6_BYTES;

	if (load_bytes(skb, l2, &ip, sizeof(ip)))
		return;
	flow.protocol = ip.protocol;
	flow.remote = extract(ip.destination);
	if (flow.protocol == FRAGMENT) {
		/* only the first one has ports; the others travel with it */
		if (load_bytes(skb, upper, fragment, sizeof(fragment)) || fragment[2] || fragment[3] & 0xf8)
			return;
		flow.protocol = fragment[0];
		upper += sizeof(fragment);
	}
	if (read_ports(skb, upper, flow.protocol, &flow.local_port, &flow.remote_port))
		remember(&flows, &flow);
}

/* The packet that an ICMPv6 error quotes: was it ours? */
inlined int quotes_ours(struct __sk_buff *skb, __u32 quoted)
{
	struct flow flow = {};
	struct ipv6 ip;
	__u8 fragment[8];
	__u32 upper = quoted + IPV6_BYTES;

	if (load_bytes(skb, quoted, &ip, sizeof(ip)))
		return 0;
	flow.protocol = ip.protocol;
	flow.remote = extract(ip.destination);
	if (flow.protocol == FRAGMENT) {
		if (load_bytes(skb, upper, fragment, sizeof(fragment)))
			return 0;
		flow.protocol = fragment[0];
		upper += sizeof(fragment);
	}
	return read_ports(skb, upper, flow.protocol, &flow.local_port, &flow.remote_port) && map_lookup(&flows, &flow);
}

/* An IPv6 packet for the shared address: is it an answer to something the translator sent? */
inlined int expected(struct __sk_buff *skb, const __u32 l2)
{
	struct datagram datagram = {};
	struct flow flow = {};
	struct ipv6 ip;
	__u8 fragment[8], type = 0;
	__u32 upper = l2 + IPV6_BYTES;

	if (load_bytes(skb, l2, &ip, sizeof(ip)))
		return 0;
	flow.protocol = ip.protocol;
	flow.remote = extract(ip.source);
	if (flow.protocol == IPPROTO_ICMPV6) {
		if (load_bytes(skb, upper, &type, 1))
			return 0;
		if (type <= ICMP_ERRORS)
			return quotes_ours(skb, upper + UPPER_BYTES);
	}
	if (flow.protocol == FRAGMENT) {
		if (load_bytes(skb, upper, fragment, sizeof(fragment)))
			return 0;
		__builtin_memcpy(datagram.source, ip.source, sizeof(datagram.source));
		__builtin_memcpy(&datagram.ident, fragment + 4, sizeof(datagram.ident));
		if (fragment[2] || fragment[3] & 0xf8)
			return map_lookup(&datagrams, &datagram) != 0;
		flow.protocol = fragment[0];
		upper += sizeof(fragment);
	}
	/* what was the source there is the destination here */
	if (!read_ports(skb, upper, flow.protocol, &flow.remote_port, &flow.local_port) || !map_lookup(&flows, &flow))
		return 0;
	if (ip.protocol == FRAGMENT)
		remember(&datagrams, &datagram);
	return 1;
}

#endif

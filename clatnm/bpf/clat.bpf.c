// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The fast path: unfragmented TCP, UDP and ICMP echo, translated (RFC 7915) between the CLAT's TUN device and its uplink.
 * An Edge Relay's is the same, but for where its addresses come from.
 *
 *   application ── IPv4 ──▶ device_egress  ──▶ IPv6 ──▶ the uplink's next hop
 *   network ── IPv6 ──▶ uplink_ingress_*   ──▶ IPv4 ──▶ received on the device
 *
 * Whatever is not simple goes to the translator process, untouched: the egress hook lets it pass into the TUN, the
 * ingress hook redirects it there, and device_ingress sends on what comes back as IPv6. A packet that is translated here
 * is one that clatnm.proto.inplace would take, and byte for byte what clatnm.proto.siit makes of it, apart from the
 * identification of an IPv4 packet without DF, which is a free choice (RFC 7915 5.1).
 *
 * Two habits let Linux 5.10 and 6.1 load this without CAP_PERFMON. Packets are read and written by helpers alone, for
 * pointers into them may not be compared. And what goes on the stack goes there as whole words of 64 bits, and is zero
 * before a helper fills it, for a smaller store into a word that was in use is refused, be it for something else before;
 * headers are therefore numbers, written as be64().
 */
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include "config.h"
#include "flows.h"
#include "helpers.h"
#include "mappings.h"

char gpl[] SEC("license") = "GPL";

/*
 * One counter a direction and protocol; clatnm.translators.ebpf reads them in this order. As in the process, which counts
 * the rest, a packet counts once however many segments it will be cut into, and its bytes are those that came.
 */
enum direction { TO_IPV6, TO_IPV4, DIRECTIONS };
enum kind { TCP, UDP, ICMP, KINDS };
struct counter {
	__u64 packets, bytes;
};
struct map_definition counters SEC("maps") = {
	.type = BPF_MAP_TYPE_PERCPU_ARRAY,
	.key_size = sizeof(__u32),
	.value_size = sizeof(struct counter),
	.max_entries = KINDS * DIRECTIONS,
};

struct transport {
	enum kind kind;
	__u32 header_bytes, checksum_at;
	__u64 checksum_flags;
	__u8 icmp_type, new_icmp_type;
};

#define DONT_FRAGMENT 0x4000
#define FRAGMENTED 0x3fff /* more fragments, or an offset */
#define NO_DF_BYTES 1260  /* IPv4 packets up to this size leave without DF (RFC 7915 5.1) */
#define PACKET_OTHERHOST 3
#define AF_INET6 10
#define VLAN_NUMBER 0xfff

enum verdict { TRANSLATED, NOT_OURS, DECLINED, BROKEN };

/* Parts of a one's complement sum (RFC 1071), from words in wire order: a few of them are added up, then folded. */
inlined __u64 sum(__u64 word)
{
	return (word & 0xffffffff) + (word >> 32);
}

inlined __u64 address_sum(struct address a)
{
	return sum(a.first) + sum(a.second);
}

inlined __u64 ipv4_sum(const void *header)
{
	const __u32 *word = header;

	return (__u64)word[0] + word[1] + word[2] + word[3] + word[4];
}

inlined __u16 fold(__u64 total)
{
	total = (total & 0xffff) + (total >> 16 & 0xffff) + (total >> 32);
	total = (total & 0xffff) + (total >> 16);
	return (total & 0xffff) + (total >> 16);
}

/* Never a host beyond this link (RFC 1812 5.3.7, RFC 3927 2.7), or one the well-known prefix may not stand for. */
inlined int unfit(__u32 v4)
{
	__u32 a = be32(v4), first = a >> 24;

	if (first == 0 || first == 127 || first >= 224 || a >> 16 == 0xa9fe)
		return 1;
	if (!config.global_only)
		return 0;
	return first == 10 || a >> 22 == 0x6440 >> 6 || a >> 20 == 0xac1 || a >> 16 == 0xc0a8 ||
	       (a >> 8 == 0xc00000 && a != 0xc0000009 && a != 0xc000000a) || a >> 8 == 0xc05863 ||
	       a >> 17 == 0xc612 >> 1;
}

/* Reads the transport header at `at`. False for what is not simple, and for what ends too early to tell. */
inlined int read_transport(struct __sk_buff *skb, __u32 at, __u8 protocol, enum direction direction,
			   struct transport *t)
{
	__u64 words[3] = {};
	const __u8 *head = (const __u8 *)words;

	if (protocol == IPPROTO_TCP) {
		if (load_bytes(skb, at, words, 20))
			return 0;
		t->kind = TCP;
		t->header_bytes = head[12] >> 2 & 60;
		t->checksum_at = 16;
		t->checksum_flags = BPF_F_PSEUDO_HDR;
		return 1;
	}
	if (load_bytes(skb, at, words, 8))
		return 0;
	t->header_bytes = 8;
	if (protocol == IPPROTO_UDP) {
		t->kind = UDP;
		t->checksum_at = 6;
		t->checksum_flags = BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0;
		return head[6] || head[7]; /* without one: RFC 7915 4.5, and in IPv6 rare */
	}
	t->kind = ICMP;
	t->checksum_at = 2;
	t->icmp_type = head[0];
	if (protocol == IPPROTO_ICMP && direction == TO_IPV6 && !skb->gso_size) { /* RFC 7915 4.2 */
		t->checksum_flags = BPF_F_PSEUDO_HDR;
		t->new_icmp_type = head[0] == 8 ? 128 : 129;
		return head[0] == 8 || head[0] == 0;
	}
	if (protocol == IPPROTO_ICMPV6 && direction == TO_IPV4 && !skb->gso_size) { /* RFC 7915 5.2 */
		/* Without a pseudo header a message may be all zero; only 0xffff is right then, and never wrong. */
		t->checksum_flags = BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0 | BPF_F_MARK_ENFORCE;
		t->new_icmp_type = head[0] == 128 ? 8 : 0;
		return head[0] == 128 || head[0] == 129;
	}
	return 0;
}

/* The size that an MTU binds: each segment's, where the packet will be cut into some. */
inlined __u32 largest(const struct __sk_buff *skb, __u32 header_bytes, __u32 payload_bytes, const struct transport *t)
{
	return header_bytes + (skb->gso_size ? t->header_bytes + skb->gso_size : payload_bytes);
}

/* Stores the leading bytes of a number. */
inlined long put(struct __sk_buff *skb, __u32 at, __u64 number, __u32 bytes, __u64 flags)
{
	__u64 word = be64(number);

	return store_bytes(skb, at, &word, bytes, flags);
}

/*
 * Gives the packet its new network header, of `bytes`, and a transport checksum in which `new` takes the place of `old`,
 * two sums. A kernel that cannot change such a packet says so at once, while it is untouched.
 *
 * Where a device has summed up the packet (CHECKSUM_COMPLETE) skb->csum has to stay right: RECOMPUTE_CSUM sees to that
 * for what is stored, PSEUDO_HDR for the checksum.
 */
inlined enum verdict rewrite(struct __sk_buff *skb, __u32 l2, __u16 type, const __u64 *header, __u32 bytes,
			     const struct transport *t, __u64 old, __u64 new)
{
	__u32 upper = l2 + bytes;

	if (change_proto(skb, be16(type), 0))
		return DECLINED;
	if (l2 && put(skb, 12, (__u64)type << 48, 2, 0))
		return BROKEN;
	if (store_bytes(skb, l2, header, bytes, BPF_F_RECOMPUTE_CSUM))
		return BROKEN;
	if (t->kind == ICMP && put(skb, upper, (__u64)t->new_icmp_type << 56, 1, BPF_F_RECOMPUTE_CSUM))
		return BROKEN;
	if (l4_csum_replace(skb, upper + t->checksum_at, 0, fold(new + (0xffff ^ fold(old))), t->checksum_flags))
		return BROKEN;
	return TRANSLATED;
}

inlined void count(enum direction direction, enum kind kind, __u32 bytes)
{
	__u64 key = pair(direction * KINDS + kind, 0);
	struct counter *counter = map_lookup(&counters, &key);

	if (!counter)
		return;
	counter->packets++;
	counter->bytes += bytes;
}

/* The IPv6 address of a sender of ours (RFC 7757 3.3.1 for a relay). False: it is none. */
inlined int local_to_ipv6(__u32 v4, struct address *v6)
{
	if (config.relay)
		return map_to_ipv6(v4, v6);
	*v6 = address(config.clat_v6);
	return v4 == config.clat_v4;
}

/* The IPv6 address of a destination. False: it has none. */
inlined int remote_to_ipv6(__u32 v4, struct address *v6)
{
	if (config.relay && map_to_ipv6(v4, v6))
		return 1;
	*v6 = embed(v4);
	return !unfit(v4);
}

/* The IPv4 address of what comes to us. False: it does not. */
inlined int local_to_ipv4(struct address v6, __u32 *v4)
{
	if (config.relay)
		return map_to_ipv4(v6, v4);
	*v4 = config.clat_v4;
	return same(v6, address(config.clat_v6));
}

/* The IPv4 address of its sender. False: it has none. */
inlined int remote_to_ipv4(struct address v6, __u32 *v4)
{
	if (config.relay && map_to_ipv4(v6, v4))
		return 1;
	*v4 = extract(v6);
	return !unfit(*v4);
}

/* RFC 7915 4: IPv4 to IPv6. The network header begins at `l2`. */
inlined enum verdict to_ipv6(struct __sk_buff *skb, __u32 l2)
{
	struct address source = {}, destination = {};
	struct transport t = {};
	enum verdict verdict;
	struct ipv4 in = {};
	__u64 out[5], old, new;
	__u32 length;

	if (skb->protocol != be16(ETH_P_IP) || load_bytes(skb, l2, &in, IPV4_BYTES))
		return DECLINED;
	if (in.version_length != 0x45 || in.fragment & be16(FRAGMENTED) || in.ttl < 2 ||
	    be16(in.length) != skb->len - l2 || in.source == in.destination || fold(ipv4_sum(&in)) != 0xffff ||
	    !local_to_ipv6(in.source, &source) || !remote_to_ipv6(in.destination, &destination))
		return DECLINED;
	length = be16(in.length) - IPV4_BYTES;
	if (same(destination, source) || !read_transport(skb, l2 + IPV4_BYTES, in.protocol, TO_IPV6, &t) ||
	    largest(skb, IPV6_BYTES, length, &t) > config.ipv6_mtu)
		return DECLINED;

	old = (__u64)in.source + in.destination;
	new = address_sum(source) + address_sum(destination);
	if (t.kind == ICMP) { /* no pseudo header in IPv4 */
		in.protocol = IPPROTO_ICMPV6;
		old = be16(t.icmp_type << 8);
		new += be16(t.new_icmp_type << 8) + be16(length) + be16(IPPROTO_ICMPV6);
	}
	out[0] = be64((__u64)6 << 60 | (__u64)in.tos << 52 | length << 16 | in.protocol << 8 | (in.ttl - 1));
	out[1] = source.first;
	out[2] = source.second;
	out[3] = destination.first;
	out[4] = destination.second;
	verdict = rewrite(skb, l2, ETH_P_IPV6, out, IPV6_BYTES, &t, old, new);
	if (verdict == TRANSLATED)
		count(TO_IPV6, t.kind, IPV4_BYTES + length);
	return verdict;
}

/* RFC 7915 5: IPv6 to IPv4. NOT_OURS: anything not for an address of ours, and its neighbour discovery. */
inlined enum verdict to_ipv4(struct __sk_buff *skb, __u32 l2)
{
	struct transport t = {};
	enum verdict verdict;
	struct ipv6 in = {};
	__u64 out[3], old, new, head, type = 0;
	__u32 length, size, flags, ident, source = 0, destination = 0;
	__u8 protocol;

	if (skb->protocol != be16(ETH_P_IPV6) || skb->pkt_type == PACKET_OTHERHOST ||
	    load_bytes(skb, l2, &in, IPV6_BYTES) || !local_to_ipv4(in.destination, &destination))
		return NOT_OURS;
	if (config.shared && !expected(skb, l2, &in))
		return NOT_OURS;
	head = be64(in.head);
	length = head >> 16 & 0xffff;
	protocol = head >> 8;
	if (protocol == IPPROTO_ICMPV6 && !load_bytes(skb, l2 + IPV6_BYTES, &type, 1) && be64(type) >> 56 >= 130 &&
	    be64(type) >> 56 <= 137)
		return NOT_OURS; /* MLD and neighbour discovery */
	if (head >> 60 != 6 || (head & 0xff) < 2 || length + IPV4_BYTES > 0xffff ||
	    length + IPV6_BYTES != skb->len - l2 || same(in.source, in.destination) ||
	    !remote_to_ipv4(in.source, &source) || source == destination ||
	    !read_transport(skb, l2 + IPV6_BYTES, protocol, TO_IPV4, &t))
		return DECLINED;
	size = largest(skb, IPV4_BYTES, length, &t);
	if (size > config.ipv4_mtu)
		return DECLINED;

	old = address_sum(in.source) + address_sum(in.destination);
	new = (__u64)source + destination;
	if (t.kind == ICMP) {
		protocol = IPPROTO_ICMP;
		old += be16(t.icmp_type << 8) + be16(length) + be16(IPPROTO_ICMPV6);
		new = be16(t.new_icmp_type << 8);
	}
	/* RFC 7915 5.1; with DF the identification says nothing (RFC 6864 4.1) */
	flags = size > NO_DF_BYTES ? DONT_FRAGMENT : 0;
	ident = size > NO_DF_BYTES ? 0 : random_u32() & 0xffff;
	out[0] = be64((__u64)0x45 << 56 | (head >> 52 & 0xff) << 48 | (__u64)(length + IPV4_BYTES) << 32 | ident << 16 |
		      flags);
	out[1] = be64(((head & 0xff) - 1) << 56 | (__u64)protocol << 48 | be32(source));
	out[2] = pair(destination, 0);
	out[1] |= be64((__u64)be16(~fold(sum(out[0]) + sum(out[1]) + sum(out[2]))) << 32);
	verdict = rewrite(skb, l2, ETH_P_IP, out, IPV4_BYTES, &t, old, new);
	if (verdict == TRANSLATED)
		count(TO_IPV4, t.kind, length + IPV6_BYTES);
	return verdict;
}

/* To the uplink's next hop. redirect_neigh() silently drops what has no Ethernet header, even on links without one. */
inlined int send_out(struct __sk_buff *skb, __u32 l2)
{
	__u64 hop[3]; /* struct bpf_redir_neigh */

	if (config.shared)
		expect(skb, l2);
	if (change_head(skb, ETH_HLEN, 0))
		return TC_ACT_SHOT;
	if (!config.has_gateway)
		return redirect_neigh(config.uplink, 0, 0, 0);
	hop[0] = pair(AF_INET6, config.gateway[0]);
	hop[1] = pair(config.gateway[1], config.gateway[2]);
	hop[2] = pair(config.gateway[3], 0);
	return redirect_neigh(config.uplink, (struct bpf_redir_neigh *)hop, sizeof(struct bpf_redir_neigh), 0);
}

inlined int from_device(struct __sk_buff *skb, __u32 l2)
{
	switch (to_ipv6(skb, l2)) {
	case TRANSLATED:
		return send_out(skb, l2);
	case BROKEN:
		return TC_ACT_SHOT;
	default:
		return TC_ACT_UNSPEC; /* into the TUN, for the process; what the uplink's hook redirects passes too */
	}
}

/* What the translator process writes into the TUN as IPv6 goes out; its IPv4 is received. */
inlined int from_process(struct __sk_buff *skb, __u32 l2)
{
	return skb->protocol == be16(ETH_P_IPV6) ? send_out(skb, l2) : TC_ACT_UNSPEC;
}

inlined int from_uplink(struct __sk_buff *skb, __u32 l2)
{
	enum verdict verdict;

	if (skb->vlan_present && skb->vlan_tci & VLAN_NUMBER)
		return TC_ACT_UNSPEC;
	verdict = to_ipv4(skb, l2);
	if (verdict == NOT_OURS)
		return TC_ACT_UNSPEC; /* other programs on this hook still see it */
	/* A tag without number tells a priority (802.1Q 6.9); the TUN would write it into the packet. */
	if (verdict == BROKEN || (skb->vlan_present && vlan_pop(skb)))
		return TC_ACT_SHOT;
	return redirect(config.device, verdict == TRANSLATED ? BPF_F_INGRESS : 0);
}

SEC("tc") int device_egress(struct __sk_buff *skb)
{
	return from_device(skb, 0);
}

SEC("tc") int device_ingress(struct __sk_buff *skb)
{
	return from_process(skb, 0);
}

SEC("tc") int uplink_ingress_ethernet(struct __sk_buff *skb)
{
	return from_uplink(skb, ETH_HLEN);
}

SEC("tc") int uplink_ingress_plain(struct __sk_buff *skb)
{
	return from_uplink(skb, 0);
}

/* For tests alone, and not in the installed table: BPF_PROG_TEST_RUN has no packets without an Ethernet header. */
SEC("tests") int device_egress_ethernet(struct __sk_buff *skb)
{
	return from_device(skb, ETH_HLEN);
}

SEC("tests") int device_ingress_ethernet(struct __sk_buff *skb)
{
	return from_process(skb, ETH_HLEN);
}

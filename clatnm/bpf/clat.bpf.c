// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The fast path: unfragmented TCP, UDP and ICMP echo, translated (RFC 7915) between the CLAT's TUN device and its uplink.
 *
 *   application ── IPv4 ──▶ device_egress  ──▶ IPv6 ──▶ the uplink's next hop
 *   network ── IPv6 ──▶ uplink_ingress_*   ──▶ IPv4 ──▶ received on the device
 *
 * Whatever is not simple goes to the translator process, untouched: the egress hook lets it pass into the TUN, the
 * ingress hook redirects it there, and device_ingress sends on what comes back as IPv6. A packet that is translated here
 * is byte for byte what clatnm.proto.siit makes of it, apart from the identification of an IPv4 packet without DF, which
 * is a free choice (RFC 7915 5.1).
 *
 * Every packet pointer dies with a helper that may move the packet, so headers are read into variables first.
 */
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/pkt_cls.h>

#include "config.h"
#include "flows.h"
#include "helpers.h"

char gpl[] SEC("license") = "GPL";

/* One counter a direction and protocol; clatnm.translators.ebpf reads them in this order. The process counts the rest. */
enum { TCP, UDP, ICMP, KINDS };
enum { TO_IPV6, TO_IPV4, DIRECTIONS };
struct counter {
	__u64 packets, bytes;
};
struct map_definition counters SEC("maps") = {
	.type = BPF_MAP_TYPE_PERCPU_ARRAY,
	.key_size = sizeof(__u32),
	.value_size = sizeof(struct counter),
	.max_entries = KINDS * DIRECTIONS,
};

enum verdict { TRANSLATED, NOT_OURS, DECLINE, BROKEN };

inlined void count(__u32 direction, __u32 kind, const struct __sk_buff *skb)
{
	__u32 key = direction * KINDS + kind;
	struct counter *counter = map_lookup(&counters, &key);

	if (!counter)
		return;
	counter->packets += skb->gso_segs > 1 ? skb->gso_segs : 1;
	counter->bytes += skb->len;
}

inlined __u16 fold(__u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32 & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Never a host beyond this link (RFC 1812 5.3.7, RFC 3927 2.7), or one the well-known prefix may not stand for. */
inlined int unfit(__u32 address)
{
	__u32 a = be32(address);
	__u32 first = a >> 24;

	if (first == 0 || first == 127 || first >= 224 || a >> 16 == 0xa9fe)
		return 1;
	if (!config.global_only)
		return 0;
	return first == 10 || a >> 22 == 0x6440 >> 6 || a >> 20 == 0xac1 || a >> 16 == 0xc0a8 ||
	       (a >> 8 == 0xc00000 && a != 0xc0000009 && a != 0xc000000a) || a >> 8 == 0xc05863 || a >> 17 == 0xc612 >> 1;
}

/*
 * The size that an MTU binds: a segment's, where the packet will be cut into some. 0: not a size to decide here.
 * `upper` is the transport header, of which UPPER_BYTES are there; `header` the network header's size on the way out.
 */
inlined __u32 largest(const struct __sk_buff *skb, __u32 whole, __u32 header, __u8 protocol, __u32 tcp_header)
{
	if (!skb->gso_size)
		return whole;
	if (protocol == IPPROTO_TCP)
		return header + tcp_header + skb->gso_size;
	return protocol == IPPROTO_UDP ? header + UPPER_BYTES + skb->gso_size : 0;
}

/* Makes the network header, which ends at `upper`, and as much of the transport header as there is readable. */
inlined long bring(struct __sk_buff *skb, __u32 upper)
{
	return pull_data(skb, skb->len < upper + TCP_BYTES ? skb->len : upper + TCP_BYTES);
}

/* Puts the new network header in place. BPF_F_RECOMPUTE_CSUM keeps skb->csum right on CHECKSUM_COMPLETE devices. */
inlined enum verdict finish(struct __sk_buff *skb, __u32 l2, __u16 type, const void *header, __u32 size)
{
	__u16 wire_type = be16(type);

	if (change_proto(skb, wire_type, 0) || store_bytes(skb, l2, header, size, BPF_F_RECOMPUTE_CSUM))
		return BROKEN;
	if (l2 && store_bytes(skb, 12, &wire_type, sizeof(wire_type), 0))
		return BROKEN;
	return TRANSLATED;
}

/*
 * The checksum of a transport protocol whose pseudo header changes by `change`. For ICMP there is a pseudo header in
 * IPv6 only, and the type changes with it: two steps, since only the first is about what skb->csum does not cover.
 */
inlined int transport_checksum(struct __sk_buff *skb, __u32 offset, __s64 change, __u64 flags)
{
	return l4_csum_replace(skb, offset, 0, change, BPF_F_PSEUDO_HDR | flags);
}

/* RFC 7915 4: IPv4 to IPv6. The network header begins at `l2`, a constant to the verifier. */
inlined enum verdict to_ipv6(struct __sk_buff *skb, const __u32 l2, __u32 *kind)
{
	void *data, *end;
	struct ipv4 *ip;
	struct ipv6 out;
	__u8 *upper;
	__u32 v4[2], pseudo[2], size, bound, tcp_header = 0;
	__u16 type_code, new_type_code;
	__u8 protocol;

	if (skb->protocol != be16(ETH_P_IP) || bring(skb, l2 + IPV4_BYTES))
		return DECLINE;
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	ip = data + l2;
	upper = (void *)(ip + 1);
	if ((void *)(upper + UPPER_BYTES) > end)
		return DECLINE;
	size = be16(ip->length);
	protocol = ip->protocol;
	if (ip->version_length != 0x45 || ip->fragment & be16(0x3fff) || ip->ttl < 2 || size != skb->len - l2 ||
	    ip->source != config.clat_v4 || ip->destination == config.clat_v4 || unfit(ip->destination))
		return DECLINE;
	if (fold(csum_diff(0, 0, (__u32 *)ip, IPV4_BYTES, 0)) != 0xffff)
		return DECLINE;

	out.version_class_label = be32(0x60000000 | (__u32)ip->tos << 20);
	out.length = be16(size - IPV4_BYTES);
	out.protocol = protocol;
	out.hop_limit = ip->ttl - 1;
	out.source[0] = config.clat_v6[0];
	out.source[1] = config.clat_v6[1];
	out.source[2] = config.clat_v6[2];
	out.source[3] = config.clat_v6[3];
	embed(ip->destination, out.destination);
	if (out.destination[0] == config.clat_v6[0] && out.destination[1] == config.clat_v6[1] &&
	    out.destination[2] == config.clat_v6[2] && out.destination[3] == config.clat_v6[3])
		return DECLINE;
	v4[0] = ip->source;
	v4[1] = ip->destination;

	if (protocol == IPPROTO_TCP) {
		if ((void *)(upper + TCP_BYTES) > end)
			return DECLINE;
		tcp_header = upper[12] >> 2 & 60;
	}
	bound = largest(skb, size + IPV6_BYTES - IPV4_BYTES, IPV6_BYTES, protocol, tcp_header);
	if (!bound || bound > config.ipv6_mtu)
		return DECLINE;
	switch (protocol) {
	case IPPROTO_TCP:
		*kind = TCP;
		if (transport_checksum(skb, l2 + IPV4_BYTES + 16, csum_diff(v4, 8, out.source, 32, 0), 0))
			return DECLINE;
		break;
	case IPPROTO_UDP:
		/* RFC 7915 4.5: a checksum of 0 is to be computed in full */
		if (!*(__u16 *)(upper + 6))
			return DECLINE;
		*kind = UDP;
		if (transport_checksum(skb, l2 + IPV4_BYTES + 6, csum_diff(v4, 8, out.source, 32, 0),
				       BPF_F_MARK_MANGLED_0))
			return DECLINE;
		break;
	case IPPROTO_ICMP:
		if (upper[0] != 8 && upper[0] != 0)
			return DECLINE;
		*kind = ICMP;
		type_code = *(__u16 *)upper;
		upper[0] = upper[0] == 8 ? 128 : 129;
		new_type_code = *(__u16 *)upper;
		out.protocol = IPPROTO_ICMPV6;
		pseudo[0] = be32(size - IPV4_BYTES);
		pseudo[1] = be32(IPPROTO_ICMPV6);
		if (transport_checksum(skb, l2 + IPV4_BYTES + 2,
				       csum_diff(0, 0, pseudo, 8, csum_diff(0, 0, out.source, 32, 0)), 0) ||
		    l4_csum_replace(skb, l2 + IPV4_BYTES + 2, type_code, new_type_code, 2))
			return BROKEN;
		break;
	default:
		return DECLINE;
	}
	return finish(skb, l2, ETH_P_IPV6, &out, IPV6_BYTES);
}

/* RFC 7915 5: IPv6 to IPv4. NOT_OURS: anything not for the CLAT address, and its neighbour discovery. */
inlined enum verdict to_ipv4(struct __sk_buff *skb, const __u32 l2, __u32 *kind)
{
	void *data, *end;
	struct ipv6 *ip;
	struct ipv4 out;
	__u8 *upper;
	__u32 v6[8], v4[2], pseudo[2], size, bound, source, tcp_header = 0;
	__u16 type_code, new_type_code;
	__u8 protocol;

	if (skb->protocol != be16(ETH_P_IPV6) || skb->pkt_type == 3 /* PACKET_OTHERHOST */ || skb->vlan_present ||
	    bring(skb, l2 + IPV6_BYTES))
		return NOT_OURS;
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	ip = data + l2;
	if ((void *)(ip + 1) > end)
		return NOT_OURS;
	if (ip->destination[3] != config.clat_v6[3] || ip->destination[2] != config.clat_v6[2] ||
	    ip->destination[1] != config.clat_v6[1] || ip->destination[0] != config.clat_v6[0])
		return NOT_OURS;
	if (config.shared && !expected(skb, l2))
		return NOT_OURS;
	upper = (void *)(ip + 1);
	if ((void *)(upper + UPPER_BYTES) > end)
		return DECLINE;
	protocol = ip->protocol;
	if (protocol == IPPROTO_ICMPV6 && upper[0] >= 130 && upper[0] <= 137)
		return NOT_OURS; /* MLD and neighbour discovery */
	size = (__u32)be16(ip->length) + IPV4_BYTES;
	source = extract(ip->source);
	if (be32(ip->version_class_label) >> 28 != 6 || ip->hop_limit < 2 || size > 0xffff ||
	    size + IPV6_BYTES - IPV4_BYTES != skb->len - l2 || source == config.clat_v4 || unfit(source))
		return DECLINE;
	__builtin_memcpy(v6, ip->source, sizeof(v6));
	v4[0] = source;
	v4[1] = config.clat_v4;
	out.version_length = 0x45;
	out.tos = be32(ip->version_class_label) >> 20;
	out.length = be16(size);
	out.ttl = ip->hop_limit - 1;
	out.protocol = protocol;
	out.checksum = 0;
	out.source = source;
	out.destination = config.clat_v4;

	if (protocol == IPPROTO_TCP) {
		if ((void *)(upper + TCP_BYTES) > end)
			return DECLINE;
		tcp_header = upper[12] >> 2 & 60;
	}
	bound = largest(skb, size, IPV4_BYTES, protocol, tcp_header);
	if (!bound || bound > config.ipv4_mtu)
		return DECLINE;
	out.fragment = bound > NO_DF_BYTES ? be16(DONT_FRAGMENT) : 0;
	out.ident = bound > NO_DF_BYTES ? 0 : random_u32();
	switch (protocol) {
	case IPPROTO_TCP:
		*kind = TCP;
		if (transport_checksum(skb, l2 + IPV6_BYTES + 16, csum_diff(v6, 32, v4, 8, 0), 0))
			return DECLINE;
		break;
	case IPPROTO_UDP:
		if (!*(__u16 *)(upper + 6))
			return DECLINE; /* illegal in IPv6 */
		*kind = UDP;
		if (transport_checksum(skb, l2 + IPV6_BYTES + 6, csum_diff(v6, 32, v4, 8, 0), BPF_F_MARK_MANGLED_0))
			return DECLINE;
		break;
	case IPPROTO_ICMPV6:
		if (upper[0] != 128 && upper[0] != 129)
			return DECLINE;
		*kind = ICMP;
		type_code = *(__u16 *)upper;
		upper[0] = upper[0] == 128 ? 8 : 0;
		new_type_code = *(__u16 *)upper;
		out.protocol = IPPROTO_ICMP;
		pseudo[0] = be32(size - IPV4_BYTES);
		pseudo[1] = be32(IPPROTO_ICMPV6);
		if (transport_checksum(skb, l2 + IPV6_BYTES + 2,
				       csum_diff(pseudo, 8, 0, 0, csum_diff(v6, 32, 0, 0, 0)), 0) ||
		    l4_csum_replace(skb, l2 + IPV6_BYTES + 2, type_code, new_type_code, 2))
			return BROKEN;
		break;
	default:
		return DECLINE;
	}
	out.checksum = ~fold(csum_diff(0, 0, (__u32 *)&out, IPV4_BYTES, 0));
	return finish(skb, l2, ETH_P_IP, &out, IPV4_BYTES);
}

/* To the uplink's next hop. redirect_neigh() silently drops what has no Ethernet header, even on links without one. */
inlined int send_out(struct __sk_buff *skb)
{
	struct bpf_redir_neigh hop = { .nh_family = 10 /* AF_INET6 */ };

	if (config.shared)
		expect(skb, 0);
	if (change_head(skb, ETH_HLEN, 0))
		return TC_ACT_SHOT;
	if (!config.has_gateway)
		return redirect_neigh(config.uplink, 0, 0, 0);
	hop.ipv6_nh[0] = config.gateway[0];
	hop.ipv6_nh[1] = config.gateway[1];
	hop.ipv6_nh[2] = config.gateway[2];
	hop.ipv6_nh[3] = config.gateway[3];
	return redirect_neigh(config.uplink, &hop, sizeof(hop), 0);
}

SEC("tc") int device_egress(struct __sk_buff *skb)
{
	__u32 kind = 0;
	enum verdict verdict = to_ipv6(skb, 0, &kind);

	if (verdict == BROKEN)
		return TC_ACT_SHOT;
	if (verdict == TRANSLATED) {
		count(TO_IPV6, kind, skb);
		return send_out(skb);
	}
	return TC_ACT_UNSPEC; /* into the TUN, for the process; what comes from the uplink's side passes here too */
}

/* What the translator process writes into the TUN as IPv6 goes out; its IPv4 is received. */
SEC("tc") int device_ingress(struct __sk_buff *skb)
{
	return skb->protocol == be16(ETH_P_IPV6) ? send_out(skb) : TC_ACT_UNSPEC;
}

inlined int from_uplink(struct __sk_buff *skb, const __u32 l2)
{
	__u32 kind = 0;
	enum verdict verdict = to_ipv4(skb, l2, &kind);

	switch (verdict) {
	case NOT_OURS:
		return TC_ACT_UNSPEC; /* other programs on this hook still see it */
	case BROKEN:
		return TC_ACT_SHOT;
	case DECLINE:
		return redirect(config.device, 0);
	default:
		count(TO_IPV4, kind, skb);
		return redirect(config.device, BPF_F_INGRESS);
	}
}

SEC("tc") int uplink_ingress_ethernet(struct __sk_buff *skb)
{
	return from_uplink(skb, ETH_HLEN);
}

SEC("tc") int uplink_ingress_plain(struct __sk_buff *skb)
{
	return from_uplink(skb, 0);
}

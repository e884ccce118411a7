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
};
const volatile struct config config = {};

struct ipv4 {
	__u8 version_length, tos;
	__u16 length, ident, fragment;
	__u8 ttl, protocol;
	__u16 checksum;
	__u32 source, destination;
};

struct ipv6 {
	__u32 version_class_label;
	__u16 length;
	__u8 protocol, hop_limit;
	__u32 source[4], destination[4];
};

#define IPV4_BYTES 20
#define IPV6_BYTES 40
#define UPPER_BYTES 8     /* of TCP, UDP and ICMP, which this program reads without a second look */
#define TCP_BYTES 20
#define DONT_FRAGMENT 0x4000
#define NO_DF_BYTES 1260  /* IPv4 packets up to this size leave without DF (RFC 7915 5.1) */

/* RFC 6052 2.2: the IPv4 address follows the prefix and skips bits 64 to 71. */
inlined void embed(__u32 address, __u32 *out)
{
	__u8 *o = (__u8 *)out;
	const __u8 *a = (const __u8 *)&address;

	out[0] = config.prefix[0];
	out[1] = config.prefix[1];
	out[2] = config.prefix[2];
	out[3] = config.prefix[3];
	switch (config.prefix_length) {
	case 96:
		out[3] = address;
		break;
	case 64:
		o[9] = a[0], o[10] = a[1], o[11] = a[2], o[12] = a[3];
		break;
	case 56:
		o[7] = a[0], o[9] = a[1], o[10] = a[2], o[11] = a[3];
		break;
	case 48:
		o[6] = a[0], o[7] = a[1], o[9] = a[2], o[10] = a[3];
		break;
	case 40:
		o[5] = a[0], o[6] = a[1], o[7] = a[2], o[9] = a[3];
		break;
	default:
		out[1] = address;
	}
}

inlined __u32 four(__u8 a, __u8 b, __u8 c, __u8 d)
{
	return be32((__u32)a << 24 | (__u32)b << 16 | (__u32)c << 8 | d);
}

/* The embedded address; 0, which `unfit` refuses, when the prefix or the zero octet does not match. The suffix is ignored. */
inlined __u32 extract(const __u32 *in)
{
	const __u8 *i = (const __u8 *)in;

	if (in[0] != config.prefix[0])
		return 0;
	switch (config.prefix_length) {
	case 96:
		return in[1] == config.prefix[1] && in[2] == config.prefix[2] ? in[3] : 0;
	case 64:
		return in[1] == config.prefix[1] && !i[8] ? four(i[9], i[10], i[11], i[12]) : 0;
	case 56:
		return !((in[1] ^ config.prefix[1]) & be32(0xffffff00)) && !i[8] ? four(i[7], i[9], i[10], i[11]) : 0;
	case 48:
		return !((in[1] ^ config.prefix[1]) & be32(0xffff0000)) && !i[8] ? four(i[6], i[7], i[9], i[10]) : 0;
	case 40:
		return !((in[1] ^ config.prefix[1]) & be32(0xff000000)) && !i[8] ? four(i[5], i[6], i[7], i[9]) : 0;
	default:
		return !i[8] ? in[1] : 0;
	}
}

#endif

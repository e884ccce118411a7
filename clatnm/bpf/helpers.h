/* SPDX-License-Identifier: GPL-2.0-or-later
 * The few BPF helper functions in use, by their kernel ABI numbers (linux/bpf.h, enum bpf_func_id), and byte order.
 * Declared here so that building needs nothing but clang and the kernel's own headers.
 */
#ifndef CLATNM_HELPERS_H
#define CLATNM_HELPERS_H

#include <linux/bpf.h>

#define SEC(name) __attribute__((section(name), used))
#define inlined static inline __attribute__((always_inline))

static void *(*map_lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*map_update)(void *map, const void *key, const void *value, __u64 flags) =
	(void *)BPF_FUNC_map_update_elem;
static long (*load_bytes)(const struct __sk_buff *skb, __u32 offset, void *to, __u32 len) =
	(void *)BPF_FUNC_skb_load_bytes;
static long (*store_bytes)(struct __sk_buff *skb, __u32 offset, const void *from, __u32 len, __u64 flags) =
	(void *)BPF_FUNC_skb_store_bytes;
static long (*l4_csum_replace)(struct __sk_buff *skb, __u32 offset, __u64 from, __u64 to, __u64 flags) =
	(void *)BPF_FUNC_l4_csum_replace;
static long (*change_proto)(struct __sk_buff *skb, __u16 proto, __u64 flags) = (void *)BPF_FUNC_skb_change_proto;
static long (*change_head)(struct __sk_buff *skb, __u32 len, __u64 flags) = (void *)BPF_FUNC_skb_change_head;
static long (*vlan_pop)(struct __sk_buff *skb) = (void *)BPF_FUNC_skb_vlan_pop;
static __u32 (*random_u32)(void) = (void *)BPF_FUNC_get_prandom_u32;
static long (*redirect)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect;
static long (*redirect_neigh)(__u32 ifindex, struct bpf_redir_neigh *hop, int hop_size, __u64 flags) =
	(void *)BPF_FUNC_redirect_neigh;

struct map_definition {
	__u32 type, key_size, value_size, max_entries, flags;
};

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define be16(x) ((__u16)__builtin_bswap16(x))
#define be32(x) ((__u32)__builtin_bswap32(x))
#define be64(x) ((__u64)__builtin_bswap64(x))
#else
#define be16(x) ((__u16)(x))
#define be32(x) ((__u32)(x))
#define be64(x) ((__u64)(x))
#endif

#endif

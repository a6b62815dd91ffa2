/* memcpy, memmove, memset, memcmp and bcmp for the static Linux binaries, in front of musl's.
 *
 * Why: decoding copies a value at a time, and most values have 1 to 40 bytes. musl's x86-64 functions begin with `rep movsq` or
 * end with a loop over single bytes, 6 to 15 ns for such a copy, and compare byte by byte: two thirds of the processor time of a
 * sync of texts with a dictionary. These take about 2 ns, as glibc's do.
 *
 * How: no loop up to 128 bytes. A size between two powers of two is covered by pieces of the smaller one from both ends, which
 * may overlap: all of them are loaded before one is stored, so the same code is right when the two places overlap. Longer ones go
 * by 64 bytes, from the end where nothing is overwritten before it is read, with aligned stores. Only what every processor of the
 * architecture has is used, so nothing is chosen while the program runs.
 *
 * On aarch64, musl's memcpy and memset are Arm's own and stay; its memmove and memcmp are plain loops and are replaced.
 *
 * tests/it/memory_functions.c defines NAME and ALL_FUNCTIONS, to have all of them beside those of its C library. */

#include <stddef.h>
#include <stdint.h>

#ifndef NAME
#define NAME(name) name
#endif

/* Loads and stores at any address, of memory of any type. */
typedef struct { uint16_t v; } __attribute__((packed, may_alias)) u16_at;
typedef struct { uint32_t v; } __attribute__((packed, may_alias)) u32_at;
typedef struct { uint64_t v; } __attribute__((packed, may_alias)) u64_at;
typedef uint8_t vec __attribute__((vector_size(16)));
typedef uint8_t vec_at __attribute__((vector_size(16), aligned(1), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE uint16_t load2(const uint8_t *p) { return ((const u16_at *)p)->v; }
INLINE uint32_t load4(const uint8_t *p) { return ((const u32_at *)p)->v; }
INLINE uint64_t load8(const uint8_t *p) { return ((const u64_at *)p)->v; }
INLINE vec load16(const uint8_t *p) { return *(const vec_at *)p; }
INLINE void store2(uint8_t *p, uint16_t v) { ((u16_at *)p)->v = v; }
INLINE void store4(uint8_t *p, uint32_t v) { ((u32_at *)p)->v = v; }
INLINE void store8(uint8_t *p, uint64_t v) { ((u64_at *)p)->v = v; }
INLINE void store16(uint8_t *p, vec v) { *(vec_at *)p = v; }

/* More than 128 bytes, the destination in front of the source or apart from it: from the first byte on. */
static __attribute__((noinline)) void *copy_up(uint8_t *to, const uint8_t *from, size_t bytes) {
    /* The ends are stored last and don't have to be aligned. */
    vec first = load16(from);
    const uint8_t *tail = from + bytes - 64;
    vec last0 = load16(tail), last1 = load16(tail + 16), last2 = load16(tail + 32), last3 = load16(tail + 48);
    uint8_t *start = to, *end = to + bytes - 64;
    size_t skip = 16 - ((uintptr_t)to & 15);
    to += skip;
    from += skip;
    while (to < end) {
        vec a = load16(from), b = load16(from + 16), c = load16(from + 32), d = load16(from + 48);
        store16(to, a);
        store16(to + 16, b);
        store16(to + 32, c);
        store16(to + 48, d);
        to += 64;
        from += 64;
    }
    store16(end, last0);
    store16(end + 16, last1);
    store16(end + 32, last2);
    store16(end + 48, last3);
    store16(start, first);
    return start;
}

/* More than 128 bytes, the destination behind the start of the source: from the last byte on. */
static __attribute__((noinline)) void *copy_down(uint8_t *to, const uint8_t *from, size_t bytes) {
    vec first0 = load16(from), first1 = load16(from + 16), first2 = load16(from + 32), first3 = load16(from + 48);
    vec last = load16(from + bytes - 16);
    uint8_t *end = to + bytes;
    size_t skip = (((uintptr_t)end - 1) & 15) + 1;
    uint8_t *at = end - skip;
    from += bytes - skip;
    while (at > to + 64) {
        at -= 64;
        from -= 64;
        vec a = load16(from + 48), b = load16(from + 32), c = load16(from + 16), d = load16(from);
        store16(at + 48, a);
        store16(at + 32, b);
        store16(at + 16, c);
        store16(at, d);
    }
    store16(to, first0);
    store16(to + 16, first1);
    store16(to + 32, first2);
    store16(to + 48, first3);
    store16(end - 16, last);
    return to;
}

/* Any size; the two may overlap. */
INLINE void *copy(uint8_t *to, const uint8_t *from, size_t bytes) {
    if (bytes <= 16) {
        if (bytes >= 8) {
            uint64_t a = load8(from), b = load8(from + bytes - 8);
            store8(to, a);
            store8(to + bytes - 8, b);
        } else if (bytes >= 4) {
            uint32_t a = load4(from), b = load4(from + bytes - 4);
            store4(to, a);
            store4(to + bytes - 4, b);
        } else if (bytes >= 2) {
            uint16_t a = load2(from), b = load2(from + bytes - 2);
            store2(to, a);
            store2(to + bytes - 2, b);
        } else if (bytes == 1) {
            *to = *from;
        }
        return to;
    }
    if (bytes <= 32) {
        vec a = load16(from), b = load16(from + bytes - 16);
        store16(to, a);
        store16(to + bytes - 16, b);
        return to;
    }
    const uint8_t *from_end = from + bytes;
    uint8_t *to_end = to + bytes;
    if (bytes <= 64) {
        vec a = load16(from), b = load16(from + 16), c = load16(from_end - 32), d = load16(from_end - 16);
        store16(to, a);
        store16(to + 16, b);
        store16(to_end - 32, c);
        store16(to_end - 16, d);
        return to;
    }
    if (bytes <= 128) {
        vec a = load16(from), b = load16(from + 16), c = load16(from + 32), d = load16(from + 48);
        vec e = load16(from_end - 64), f = load16(from_end - 48), g = load16(from_end - 32), h = load16(from_end - 16);
        store16(to, a);
        store16(to + 16, b);
        store16(to + 32, c);
        store16(to + 48, d);
        store16(to_end - 64, e);
        store16(to_end - 48, f);
        store16(to_end - 32, g);
        store16(to_end - 16, h);
        return to;
    }
    /* The distance as an unsigned number: large when the destination is in front of the source. */
    if ((uintptr_t)to - (uintptr_t)from >= bytes) {
        return copy_up(to, from, bytes);
    }
    return copy_down(to, from, bytes);
}

void *NAME(memmove)(void *to, const void *from, size_t bytes) {
    return copy(to, from, bytes);
}

#if !defined(__aarch64__) || defined(ALL_FUNCTIONS)

void *NAME(memcpy)(void *restrict to, const void *restrict from, size_t bytes) {
    return copy(to, from, bytes);
}

void *NAME(memset)(void *to, int value, size_t bytes) {
    uint8_t *at = to, *end = at + bytes;
    uint64_t eight = (uint8_t)value * UINT64_C(0x0101010101010101);
    if (bytes <= 16) {
        if (bytes >= 8) {
            store8(at, eight);
            store8(end - 8, eight);
        } else if (bytes >= 4) {
            store4(at, (uint32_t)eight);
            store4(end - 4, (uint32_t)eight);
        } else if (bytes >= 2) {
            store2(at, (uint16_t)eight);
            store2(end - 2, (uint16_t)eight);
        } else if (bytes == 1) {
            *at = (uint8_t)eight;
        }
        return to;
    }
    uint64_t two __attribute__((vector_size(16))) = {eight, eight};
    vec v = (vec)two;
    store16(at, v);
    store16(end - 16, v);
    if (bytes <= 32) return to;
    store16(at + 16, v);
    store16(end - 32, v);
    if (bytes <= 64) return to;
    at = (uint8_t *)(((uintptr_t)at + 16) & ~(uintptr_t)15);
#ifdef __x86_64__
    /* From about here on the processor's own way is twice as fast as stores of 16 bytes. The last bytes are stored already. */
    if (bytes >= 2048) {
        size_t eights = (size_t)(end - at) / 8;
        __asm__ volatile("rep stosq" : "+D"(at), "+c"(eights) : "a"(eight) : "memory");
        return to;
    }
#endif
    /* All but the last 64 bytes in aligned steps, then those. */
    while (at < end - 64) {
        store16(at, v);
        store16(at + 16, v);
        store16(at + 32, v);
        store16(at + 48, v);
        at += 64;
    }
    store16(end - 64, v);
    store16(end - 48, v);
    return to;
}

#endif

/* Below 0, 0 or above 0, as the first byte that differs says: of words, the lowest address counts most. */
INLINE int order(uint64_t a, uint64_t b) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    a = __builtin_bswap64(a);
    b = __builtin_bswap64(b);
#endif
    return (a > b) - (a < b);
}

INLINE int compare(const uint8_t *a, const uint8_t *b, size_t bytes) {
    if (bytes >= 8) {
        size_t at = 0, last = bytes - 8;
        while (at < last) {
            uint64_t x = load8(a + at), y = load8(b + at);
            if (x != y) return order(x, y);
            at += 8;
        }
        return order(load8(a + last), load8(b + last));
    }
    if (bytes >= 4) {
        /* Twice four; those in the middle may be looked at twice. */
        uint32_t x = load4(a), y = load4(b);
        if (x == y) {
            x = load4(a + bytes - 4);
            y = load4(b + bytes - 4);
        }
        return order(x, y);
    }
    for (size_t at = 0; at < bytes; at++) {
        if (a[at] != b[at]) return a[at] - b[at];
    }
    return 0;
}

int NAME(memcmp)(const void *a, const void *b, size_t bytes) { return compare(a, b, bytes); }

/* Only whether they differ. */
int NAME(bcmp)(const void *a, const void *b, size_t bytes) { return compare(a, b, bytes); }

#ifndef ALL_FUNCTIONS
/* Named by src/libc_memory.rs, so that this file is linked whatever else is. */
void cq_source_s3_memory_functions(void) {}
#endif

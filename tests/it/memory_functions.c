/* Holds src/libc_memory/functions.c against loops over bytes: every size up to where the long copies begin and past it, every
 * alignment, every overlap, each right before and right after memory that must not be touched. Prints what differs, ends with 1. */

#define _DEFAULT_SOURCE
#define NAME(name) ours_##name
#define ALL_FUNCTIONS
#include "../../src/libc_memory/functions.c"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Longer than every size that is told apart. */
enum { SIZES = 400, ALIGNMENTS = 64, SPACE = 1 << 12 };

static uint8_t *a, *b;
static uint8_t expected[SPACE];

static void fail(const char *what, size_t bytes, long x, long y) {
    printf("%s of %zu bytes is wrong (%ld, %ld)\n", what, bytes, (long)x, (long)y);
    exit(1);
}

/* Room for SPACE bytes, up to a page that can't be read or written; where pages are no larger, after such a page, too. */
static uint8_t *guarded(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (SPACE + page - 1) / page * page;
    uint8_t *all = mmap(NULL, room + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all + page, room, PROT_READ | PROT_WRITE) != 0 ) {
        puts("no memory to be had");
        exit(2);
    }
    return all + page + room - SPACE;
}

static void fill(uint8_t *at, size_t bytes, unsigned seed) {
    for (size_t i = 0; i < bytes; i++) at[i] = (uint8_t)((i * 167 + seed * 59 + (i >> 8) * 31) ^ (i >> 3));
}

static int same(const uint8_t *x, const uint8_t *y, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (x[i] != y[i]) return 0;
    return 1;
}

/* Copies of `bytes` from b + from to a + to: nothing else of a changes. */
static void copies(size_t bytes, size_t from, size_t to) {
    fill(a, SPACE, 1);
    fill(b, SPACE, 2);
    fill(expected, SPACE, 1);
    for (size_t i = 0; i < bytes; i++) expected[to + i] = b[from + i];
    if (ours_memcpy(a + to, b + from, bytes) != a + to || !same(a, expected, SPACE)) fail("memcpy", bytes, (long)from, (long)to);
    fill(a, SPACE, 1);
    if (ours_memmove(a + to, b + from, bytes) != a + to || !same(a, expected, SPACE)) fail("memmove", bytes, (long)from, (long)to);
}

/* Within one place. */
static void moves(size_t bytes, size_t from, size_t to) {
    fill(a, SPACE, 3);
    fill(expected, SPACE, 3);
    for (size_t i = 0; i < bytes; i++) expected[to + i] = a[from + i];
    if (ours_memmove(a + to, a + from, bytes) != a + to || !same(a, expected, SPACE)) fail("overlapping memmove", bytes, (long)from, (long)to);
}

static void sets(size_t bytes, size_t to, int value) {
    fill(a, SPACE, 4);
    fill(expected, SPACE, 4);
    for (size_t i = 0; i < bytes; i++) expected[to + i] = (uint8_t)value;
    if (ours_memset(a + to, value, bytes) != a + to || !same(a, expected, SPACE)) fail("memset", bytes, (long)to, value);
}

static int sign(int x) { return (x > 0) - (x < 0); }

static void compares(size_t bytes, size_t x, size_t y) {
    fill(a + x, bytes, 5);
    fill(b + y, bytes, 5);
    if (ours_memcmp(a + x, b + y, bytes) != 0 || ours_bcmp(a + x, b + y, bytes) != 0) fail("memcmp of the same", bytes, (long)x, (long)y);
    for (size_t at = 0; at < bytes; at++) {
        uint8_t was = b[y + at];
        for (int step = 0; step < 2; step++) {
            b[y + at] = step == 0 ? (uint8_t)(was ^ 0x80) : (uint8_t)(was + 1);
            int order = a[x + at] > b[y + at] ? 1 : -1;
            /* What follows the first difference does not count. */
            if (at + 1 < bytes) b[y + at + 1] ^= order > 0 ? 0xff : 0;
            if (sign(ours_memcmp(a + x, b + y, bytes)) != order) fail("memcmp", bytes, (long)at, order);
            if (ours_bcmp(a + x, b + y, bytes) == 0) fail("bcmp", bytes, (long)at, order);
            if (at + 1 < bytes) b[y + at + 1] ^= order > 0 ? 0xff : 0;
        }
        b[y + at] = was;
    }
}

int main(void) {
    a = guarded();
    b = guarded();
    static const size_t large[] = {511, 512, 513, 1000, 2047, 2048, 3333, SPACE};
    for (size_t bytes = 0; bytes <= SIZES; bytes++) {
        for (size_t align = 0; align < ALIGNMENTS; align += bytes > 160 ? 5 : 1) {
            copies(bytes, 0, align);
            copies(bytes, SPACE - bytes, align);
            copies(bytes, align, SPACE - bytes);
            sets(bytes, align, align % 2 ? 0x1a5 : 0);
        }
        sets(bytes, SPACE - bytes, 0xff);
        for (size_t by = 0; by <= bytes + 1; by += bytes > 160 ? 7 : 1) {
            moves(bytes, 0, by);
            moves(bytes, by, 0);
            moves(bytes, SPACE - bytes - by, SPACE - bytes);
            moves(bytes, SPACE - bytes, SPACE - bytes - by);
        }
        compares(bytes, 0, SPACE - bytes);
        compares(bytes, SPACE - bytes, bytes % 16);
    }
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        size_t bytes = large[i];
        for (size_t align = 0; align < 16 && align + bytes <= SPACE; align++) {
            copies(bytes, SPACE - bytes, align);
            sets(bytes, align, 7);
        }
        for (size_t by = 0; by <= SPACE - bytes && by < 200; by += 3) {
            moves(bytes, by, 0);
            moves(bytes, 0, by);
            moves(bytes, SPACE - bytes, SPACE - bytes - by);
        }
    }
    puts("as byte by byte");
    return 0;
}

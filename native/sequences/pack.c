#include "headrace.h"

#include <stdlib.h>
#include <string.h>

enum { LEVELS = 4, DIGIT = 11, BUCKETS = 1 << DIGIT };

/* The sets of rows with a certain room: a queue for each room, and a tree of bits that tells which have a row. */
typedef struct {
    int32_t *first, *last, *next; /* of each room the rows in it, -1 where there is none; behind each row the next */
    uint64_t *bits[LEVELS];
    int64_t words[LEVELS];
} rooms;

static void note(rooms *rooms, int64_t room) {
    for (int level = 0; level < LEVELS; level++, room >>= 6) rooms->bits[level][room >> 6] |= UINT64_C(1) << (room & 63);
}

static void forget(rooms *rooms, int64_t room) {
    for (int level = 0; level < LEVELS; level++, room >>= 6) {
        rooms->bits[level][room >> 6] &= ~(UINT64_C(1) << (room & 63));
        if (rooms->bits[level][room >> 6]) return;
    }
}

static int lowest_bit(uint64_t word) {
#if defined(__GNUC__)
    return __builtin_ctzll(word);
#else
    int bit = 0;
    while (!(word >> bit & 1)) bit++;
    return bit;
#endif
}

/* The least room of at least this size that a row has, or -1. */
static int64_t find(const rooms *rooms, int64_t room) {
    int level = 0;
    for (;;) { /* up, until a word has a bit at or behind the place */
        const uint64_t word = (room >> 6) < rooms->words[level] ? rooms->bits[level][room >> 6] >> (room & 63) : 0;
        if (word) {
            room += lowest_bit(word);
            break;
        }
        if (++level == LEVELS) return -1;
        room = (room >> 6) + 1;
    }
    while (level-- > 0) room = room << 6 | lowest_bit(rooms->bits[level][room]);
    return room;
}

static void enter(rooms *rooms, int64_t room, int32_t row) {
    rooms->next[row] = -1;
    if (rooms->first[room] < 0) {
        rooms->first[room] = row;
        note(rooms, room);
    } else {
        rooms->next[rooms->last[room]] = row;
    }
    rooms->last[room] = row;
}

static int32_t leave(rooms *rooms, int64_t room) {
    const int32_t row = rooms->first[room];
    rooms->first[room] = rooms->next[row];
    if (rooms->first[room] < 0) forget(rooms, room);
    return row;
}

/* Numbers of sequences below 2^32, each with what its length lacks of the capacity in the bits above. */
typedef uint64_t keyed;

/* Sort the sequences of a window, the longest first, and as they come where they are as long. */
static keyed *sort(const int64_t *lengths, int64_t count, int64_t capacity, keyed *order, keyed *other) {
    for (int64_t i = 0; i < count; i++) order[i] = (keyed)(capacity - lengths[i]) << 32 | (keyed)i;
    for (int shift = 0; capacity >> shift; shift += DIGIT) {
        int32_t starts[BUCKETS + 1] = {0};
        for (int64_t i = 0; i < count; i++) starts[(order[i] >> (32 + shift) & (BUCKETS - 1)) + 1]++;
        for (int bucket = 0; bucket < BUCKETS; bucket++) starts[bucket + 1] += starts[bucket];
        for (int64_t i = 0; i < count; i++) other[starts[order[i] >> (32 + shift) & (BUCKETS - 1)]++] = order[i];
        keyed *sorted = other;
        other = order;
        order = sorted;
    }
    return order;
}

/* The memory of a window. */
typedef struct {
    rooms rooms;
    keyed *order, *other;
    int32_t *row_of, *held; /* the row of each sequence, and how many a row has */
    int64_t *left;          /* the room of each row; of first fit a tree of the most room */
    int64_t leaves;
} scratch;

static int64_t best_fit(const headrace_packing *packing, const int64_t *lengths, int64_t count, scratch *use) {
    rooms *rooms = &use->rooms;
    int32_t rows = 0;
    const keyed *order = sort(lengths, count, packing->capacity, use->order, use->other);
    for (int64_t i = 0; i < count; i++) {
        const int32_t item = (int32_t)order[i];
        const int64_t length = lengths[item], room = find(rooms, length);
        int32_t row;
        if (room < 0) {
            row = rows++;
            use->left[row] = packing->capacity;
            use->held[row] = 0;
        } else {
            row = leave(rooms, room);
        }
        use->row_of[item] = row;
        use->left[row] -= length;
        use->held[row]++;
        if (use->left[row] && use->held[row] < packing->most) enter(rooms, use->left[row], row);
    }
    if (order != use->order) memcpy(use->order, order, (size_t)count * sizeof *order);
    for (int32_t row = 0; row < rows; row++) {
        const int64_t room = use->left[row];
        if (rooms->first[room] >= 0) forget(rooms, room);
        rooms->first[room] = -1;
    }
    return rows;
}

static int64_t first_fit(const headrace_packing *packing, const int64_t *lengths, int64_t count, scratch *use) {
    int64_t *tree = use->left, rows = 0;
    for (int64_t node = 1; node < 2 * use->leaves; node++) tree[node] = packing->capacity;
    for (int64_t i = 0; i < count; i++) {
        int64_t node = 1;
        while (node < use->leaves) {
            node *= 2;
            if (tree[node] < lengths[i]) node++;
        }
        const int32_t row = (int32_t)(node - use->leaves);
        if (row == rows) use->held[rows++] = 0;
        use->order[i] = (keyed)i;
        use->row_of[i] = row;
        tree[node] -= lengths[i];
        if (++use->held[row] == packing->most) tree[node] = 0;
        for (node /= 2; node; node /= 2) tree[node] = tree[2 * node] > tree[2 * node + 1] ? tree[2 * node] : tree[2 * node + 1];
    }
    return rows;
}

static void *take(char **memory, int64_t bytes) {
    void *taken = *memory;
    *memory += (bytes + 7) & ~INT64_C(7);
    return taken;
}

/* Lays the memory out; returns how many bytes that takes. */
static int64_t lay_out(const headrace_packing *packing, char *memory, scratch *use) {
    char *at = memory;
    const int64_t window = packing->window, room_count = packing->capacity + 1;
    for (use->leaves = 1; use->leaves < window;) use->leaves *= 2;
    use->left = take(&at, 2 * use->leaves * 8);
    use->order = take(&at, window * 8);
    use->other = take(&at, window * 8);
    use->row_of = take(&at, window * 4);
    use->held = take(&at, window * 4);
    use->rooms.next = take(&at, window * 4);
    use->rooms.first = take(&at, room_count * 4);
    use->rooms.last = take(&at, room_count * 4);
    for (int64_t level = 0, words = room_count; level < LEVELS; level++) {
        words = (words >> 6) + 1;
        use->rooms.words[level] = words;
        use->rooms.bits[level] = take(&at, words * 8);
    }
    return at - memory;
}

int64_t headrace_pack(const headrace_packing *packing, const int64_t *lengths, int64_t count, int64_t *members,
                      int64_t *ends) {
    scratch use;
    char *memory = malloc((size_t)lay_out(packing, NULL, &use));
    if (!memory) return -1;
    lay_out(packing, memory, &use);
    for (int64_t room = 0; room <= packing->capacity; room++) use.rooms.first[room] = -1;
    for (int level = 0; level < LEVELS; level++) memset(use.rooms.bits[level], 0, (size_t)use.rooms.words[level] * 8);
    int64_t total = 0;
    for (int64_t start = 0; start < count; start += packing->window) {
        const int64_t size = count - start < packing->window ? count - start : packing->window;
        const int64_t rows = (packing->first_fit ? first_fit : best_fit)(packing, lengths + start, size, &use);
        for (int64_t row = 0, end = start; row < rows; row++) {
            const int64_t held = use.held[row];
            ends[total + row] = end; /* its first place, which moves on to its end */
            end += held;
        }
        for (int64_t i = 0; i < size; i++) {
            const int32_t item = (int32_t)use.order[i];
            members[ends[total + use.row_of[item]]++] = start + item;
        }
        total += rows;
    }
    free(memory);
    return total;
}

#include "headrace.h"

#include <string.h>

enum { BLOCK = 512, NAME = 0, NAME_BYTES = 100, SIZE = 124, NUMBER_BYTES = 12, SUM = 148, SUM_BYTES = 8, KIND = 156 };
enum { MAGIC = 257, PREFIX = 345, PREFIX_BYTES = 155 };

/* What ends a scan; the words for it are in src/headrace/formats/tar/archive.py. */
enum { DONE = 0, FULL = 1, CUT = 2, WRONG_SUM = 3, WRONG_NUMBER = 4, WRONG_PAX = 5, SPARSE = 6, REPEATED = 7, MANY = 8 };

typedef struct {
    const uint8_t *start;
    int64_t length;
} text;

/* What goes before a member, and holds for it alone. */
typedef struct {
    text name;
    int64_t size; /* -1: as the header of the member says */
} extended;

static int is_digit(uint8_t byte) { return byte >= '0' && byte <= '9'; }

/* Octal digits between spaces and zeros, or with the highest bit set a big-endian number; -1 where it is neither. */
static int64_t number(const uint8_t *digits, int bytes) {
    int64_t value = 0;
    int i = 0;
    if (digits[0] == 0x80) {
        for (i = 1; i < bytes; i++) {
            if (value >> 54) return -1;
            value = value << 8 | digits[i];
        }
        return value;
    }
    while (i < bytes && digits[i] == ' ') i++;
    for (; i < bytes && digits[i] >= '0' && digits[i] <= '7'; i++) value = value << 3 | (digits[i] - '0');
    while (i < bytes && (digits[i] == ' ' || digits[i] == 0)) i++;
    return i == bytes ? value : -1;
}

/* The sum of the bytes of a header, blanks in place of the stored one. Some old programs took bytes as signed. */
static int64_t sum_of(const uint8_t *header, int with_sign) {
    int32_t sum = ' ' * SUM_BYTES;
    for (int i = 0; i < BLOCK; i++) sum += header[i];
    for (int i = SUM; i < SUM + SUM_BYTES; i++) sum -= header[i];
    if (with_sign)
        for (int i = 0; i < BLOCK; i++)
            if (i < SUM || i >= SUM + SUM_BYTES) sum -= header[i] > 127 ? 256 : 0;
    return sum;
}

static int sum_is_right(const uint8_t *header) {
    const int64_t stored = number(header + SUM, SUM_BYTES);
    return stored == sum_of(header, 0) || stored == sum_of(header, 1);
}

static int is_zero(const uint8_t *block) {
    for (int i = 0; i < BLOCK; i++)
        if (block[i]) return 0;
    return 1;
}

static int64_t length_of(const uint8_t *start, int64_t most) {
    const uint8_t *end = memchr(start, 0, (size_t)most);
    return end ? end - start : most;
}

static int is_called(text key, const char *name) {
    return key.length == (int64_t)strlen(name) && memcmp(key.start, name, (size_t)key.length) == 0;
}

static int64_t decimal(text digits) {
    int64_t value = 0;
    if (digits.length == 0 || digits.length > 18) return -1;
    for (int64_t i = 0; i < digits.length; i++) {
        if (!is_digit(digits.start[i])) return -1;
        value = value * 10 + (digits.start[i] - '0');
    }
    return value;
}

static int apply_pax(text key, text value, extended *found) {
    if (is_called(key, "path")) {
        found->name = (text){value.start, length_of(value.start, value.length)};
    } else if (is_called(key, "size")) {
        found->size = decimal(value);
        if (found->size < 0) return WRONG_PAX;
    } else if (key.length > 11 && memcmp(key.start, "GNU.sparse.", 11) == 0) {
        return SPARSE;
    }
    return DONE;
}

/* Lines "LENGTH KEY=VALUE\n", where the length is that of the whole line. */
static int read_pax(const uint8_t *data, int64_t size, extended *found) {
    for (int64_t at = 0; at < size && data[at];) {
        int64_t digits = 0;
        while (at + digits < size && is_digit(data[at + digits])) digits++;
        const int64_t length = decimal((text){data + at, digits});
        if (length < digits + 3 || length > size - at || data[at + digits] != ' ' || data[at + length - 1] != '\n')
            return WRONG_PAX;
        const uint8_t *key = data + at + digits + 1, *end = data + at + length - 1;
        const uint8_t *equals = memchr(key, '=', (size_t)(end - key));
        if (!equals) return WRONG_PAX;
        const int problem = apply_pax((text){key, equals - key}, (text){equals + 1, end - equals - 1}, found);
        if (problem) return problem;
        at += length;
    }
    return DONE;
}

/* The name of a member, in `room` of PREFIX_BYTES + 1 + NAME_BYTES where it must be put together. */
static text name_of(const uint8_t *header, const extended *before, uint8_t *room) {
    if (before->name.start) return before->name;
    const text name = {header + NAME, length_of(header + NAME, NAME_BYTES)};
    if (memcmp(header + MAGIC, "ustar", 6) != 0 || !header[PREFIX]) return name;
    const int64_t prefix = length_of(header + PREFIX, PREFIX_BYTES);
    memcpy(room, header + PREFIX, (size_t)prefix);
    room[prefix] = '/';
    memcpy(room + prefix + 1, name.start, (size_t)name.length);
    return (text){room, prefix + 1 + name.length};
}

/* The part of a name that samples share: up to the first dot after the last slash. -1 if there is none. */
static int64_t key_length(text name) {
    int64_t start = name.length;
    while (start > 0 && name.start[start - 1] != '/') start--;
    const uint8_t *dot = memchr(name.start + start, '.', (size_t)(name.length - start));
    return dot && dot > name.start + start ? dot - name.start : -1;
}

static uint8_t lower(uint8_t byte) { return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + 32) : byte; }

static int same_field(text ending, const uint8_t *field, int64_t length) {
    if (ending.length != length) return 0;
    for (int64_t i = 0; i < length; i++)
        if (lower(ending.start[i]) != field[i]) return 0;
    return 1;
}

/* The number of an ending, a new one where it was not met before; -1 if there is no room for it. */
static int64_t field_of(text ending, int64_t guess, headrace_tar *tar) {
    for (int64_t i = 0; i < tar->fields; i++) { /* members mostly come in the same order in each sample */
        const int64_t field = (guess + i) % tar->fields;
        const int64_t start = tar->field_bounds[field];
        if (same_field(ending, tar->field_text + start, tar->field_bounds[field + 1] - start)) return field;
    }
    const int64_t start = tar->field_bounds[tar->fields];
    if (tar->fields == tar->field_capacity || ending.length > tar->field_room - start) return -1;
    for (int64_t i = 0; i < ending.length; i++) tar->field_text[start + i] = lower(ending.start[i]);
    tar->field_bounds[tar->fields + 1] = start + ending.length;
    tar->last_sample[tar->fields] = -1;
    return tar->fields++;
}

static int has_key(const headrace_tar *tar, text key) {
    if (tar->samples == 0) return 0;
    const int64_t start = tar->key_bounds[tar->samples - 1], length = tar->key_bounds[tar->samples] - start;
    return length == key.length && memcmp(tar->key_text + start, key.start, (size_t)length) == 0;
}

static int add_member(headrace_tar *tar, text name, int64_t offset, int64_t size) {
    const int64_t length = key_length(name);
    if (length < 0) {
        tar->skipped++;
        return DONE;
    }
    const text key = {name.start, length}, ending = {name.start + length + 1, name.length - length - 1};
    const int64_t start = tar->key_bounds[tar->samples];
    const int is_new = !has_key(tar, key);
    if (tar->members == tar->capacity || (is_new && length > tar->key_room - start)) return FULL;
    const int64_t guess = tar->members && !is_new ? tar->out[tar->members - 1].field + 1 : 0;
    const int64_t field = field_of(ending, guess, tar);
    if (field < 0) return MANY;
    if (is_new) {
        memcpy(tar->key_text + start, key.start, (size_t)length);
        tar->firsts[tar->samples++] = tar->members;
        tar->key_bounds[tar->samples] = start + length;
        tar->sample++;
    } else if (tar->last_sample[field] == tar->sample) {
        return REPEATED;
    }
    tar->last_sample[field] = tar->sample;
    tar->out[tar->members++] = (headrace_record){offset, size, 0, (uint32_t)field};
    return DONE;
}

/* Takes the member whose header is at *at, unless the header only says more of the one behind it. */
static int take(const uint8_t *data, int64_t size, int64_t *at, extended *before, headrace_tar *tar, int *is_member) {
    const uint8_t *header = data + *at, kind = header[KIND];
    if (!sum_is_right(header)) return WRONG_SUM;
    *is_member = kind != 'x' && kind != 'g' && kind != 'L' && kind != 'K';
    int64_t length = *is_member && before->size >= 0 ? before->size : number(header + SIZE, NUMBER_BYTES);
    if (length < 0) return WRONG_NUMBER;
    if (kind >= '1' && kind <= '6') length = 0; /* links, devices and folders have no data, whatever they say */
    const int64_t offset = *at + BLOCK;
    if (length > size - offset) return CUT;
    int problem = DONE;
    uint8_t room[PREFIX_BYTES + 1 + NAME_BYTES];
    if (kind == 'L') {
        before->name = (text){data + offset, length_of(data + offset, length)};
    } else if (kind == 'x') {
        problem = read_pax(data + offset, length, before);
    } else if (kind == 'S') {
        problem = SPARSE;
    } else if (kind == '0' || kind == 0 || kind == '7') {
        problem = add_member(tar, name_of(header, before, room), offset, length);
    }
    *at = offset + (length + BLOCK - 1) / BLOCK * BLOCK; /* which may be behind the end of these data */
    return problem;
}

int64_t headrace_scan_tar(const uint8_t *data, int64_t size, headrace_tar *tar) {
    int64_t at = tar->position;
    extended before = {{NULL, 0}, -1};
    for (;;) {
        if (size - at < BLOCK) return CUT;
        if (is_zero(data + at)) return DONE;
        int is_member = 0;
        const int problem = take(data, size, &at, &before, tar, &is_member);
        if (problem) return problem;
        if (is_member) {
            before = (extended){{NULL, 0}, -1};
            tar->position = at; /* from here on the scan can be taken up again */
        }
    }
}

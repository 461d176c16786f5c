#include "headrace.h"

#include <string.h>

/* Kinds of features, which are the numbers of their fields in tf.train.Feature. */
enum { NONE = 0, BYTES = 1, FLOATS = 2, INTEGERS = 3 };
/* Ways in which Protocol Buffers write a field. */
enum { VARINT = 0, FIXED_8 = 1, CHUNK = 2, FIXED_4 = 5 };

typedef struct {
    const uint8_t *at, *end;
} message;

typedef struct {
    uint32_t number, way;
    uint64_t value; /* of a varint */
    message content;
} part;

static int read_varint(message *from, uint64_t *value) {
    *value = 0;
    for (int shift = 0; shift < 70 && from->at < from->end; shift += 7) {
        const uint8_t byte = *from->at++;
        *value |= (uint64_t)(byte & 0x7F) << (shift < 63 ? shift : 63);
        if (!(byte & 0x80)) return 1;
    }
    return 0;
}

/* The next field of a message; 0 where there is no such field. */
static int read_part(message *from, part *found) {
    uint64_t tag, length = 0;
    if (!read_varint(from, &tag) || tag >> 35 || tag >> 3 == 0) return 0;
    found->number = (uint32_t)(tag >> 3);
    found->way = (uint32_t)(tag & 7);
    found->value = 0;
    if (found->way == VARINT) {
        if (!read_varint(from, &found->value)) return 0;
    } else if (found->way == CHUNK) {
        if (!read_varint(from, &length)) return 0;
    } else if (found->way == FIXED_8 || found->way == FIXED_4) {
        length = found->way == FIXED_8 ? 8 : 4;
    } else {
        return 0;
    }
    if (length > (uint64_t)(from->end - from->at)) return 0;
    found->content = (message){from->at, from->at + length};
    from->at += length;
    return 1;
}

/* How many values a field of a list holds; -1 where it holds none of that kind. */
static int64_t count_values(const part *field, int64_t kind) {
    const int64_t length = field->content.end - field->content.at;
    if (kind == BYTES) return field->way == CHUNK ? 1 : -1;
    if (kind == FLOATS) return field->way == FIXED_4 ? 1 : field->way == CHUNK && length % 4 == 0 ? length / 4 : -1;
    if (field->way == VARINT) return 1;
    if (field->way != CHUNK || (length && field->content.end[-1] & 0x80)) return -1;
    int64_t count = 0;
    for (const uint8_t *at = field->content.at; at < field->content.end; at++) count += !(*at & 0x80);
    return count;
}

static int count_list(message list, int64_t kind, int64_t *count) {
    part field;
    *count = 0;
    while (list.at < list.end) {
        if (!read_part(&list, &field)) return 0;
        if (field.number != 1) continue;
        const int64_t more = count_values(&field, kind);
        if (more < 0) return 0;
        *count += more;
    }
    return 1;
}

/* span: where the list of a feature begins, its bytes, its kind, and how many values it has. */
static int read_feature(message feature, const uint8_t *data, int64_t *span) {
    part field;
    memset(span, 0, 4 * sizeof *span);
    while (feature.at < feature.end) {
        if (!read_part(&feature, &field)) return 0;
        if (field.number > INTEGERS) continue;
        if (field.way != CHUNK || span[2] != NONE) return 0;
        span[0] = field.content.at - data;
        span[1] = field.content.end - field.content.at;
        span[2] = field.number;
        if (!count_list(field.content, span[2], &span[3])) return 0;
    }
    return 1;
}

/* The key and the value of an entry of a map; what is not there is empty. */
static int read_entry(message entry, message *key, message *value) {
    part field;
    *key = *value = (message){entry.end, entry.end};
    while (entry.at < entry.end) {
        if (!read_part(&entry, &field)) return 0;
        if (field.number > 2) continue;
        if (field.way != CHUNK) return 0;
        *(field.number == 1 ? key : value) = field.content;
    }
    return 1;
}

/* Which of the names it is, or -1. Entries mostly come in the same order, so the search begins behind the last one. */
static int64_t find_name(message key, const uint8_t *names, const int64_t *bounds, int64_t count, int64_t guess) {
    for (int64_t i = 0; i < count; i++) {
        const int64_t place = guess + i < count ? guess + i : guess + i - count;
        const int64_t length = bounds[place + 1] - bounds[place];
        if (key.end - key.at == length && memcmp(key.at, names + bounds[place], (size_t)length) == 0) return place;
    }
    return -1;
}

static int read_features(message features, const uint8_t *data, const uint8_t *names, const int64_t *bounds,
                         int64_t count, int64_t *spans) {
    int64_t guess = 0;
    part field;
    message key, value;
    while (features.at < features.end) {
        if (!read_part(&features, &field)) return 0;
        if (field.number != 1) continue;
        if (field.way != CHUNK || !read_entry(field.content, &key, &value)) return 0;
        const int64_t place = find_name(key, names, bounds, count, guess);
        if (place < 0) continue;
        if (!read_feature(value, data, spans + 4 * place)) return 0;
        guess = place + 1 < count ? place + 1 : 0;
    }
    return 1;
}

int64_t headrace_find_features(const uint8_t *data, const int64_t *bounds, int64_t count, const uint8_t *names,
                               const int64_t *name_bounds, int64_t name_count, int64_t *spans) {
    for (int64_t i = 0; i < count; i++, spans += 4 * name_count) {
        message example = {data + bounds[i], data + bounds[i + 1]};
        part field;
        memset(spans, 0, (size_t)(4 * name_count) * sizeof *spans);
        while (example.at < example.end) {
            if (!read_part(&example, &field)) return i;
            if (field.number != 1) continue;
            if (field.way != CHUNK) return i;
            if (!read_features(field.content, data, names, name_bounds, name_count, spans)) return i;
        }
    }
    return -1;
}

/* The row of a name, which is added if it is new; null where there is no room. */
static int64_t *note_name(headrace_features *found, message key, int64_t section, int64_t *guess) {
    const int64_t length = key.end - key.at;
    for (int64_t i = 0; i < found->names; i++) {
        const int64_t place = *guess + i < found->names ? *guess + i : *guess + i - found->names;
        const int64_t *bounds = found->bounds + place;
        int64_t *row = found->table + 6 * place;
        if (row[0] == section && bounds[1] - bounds[0] == length &&
            memcmp(key.at, found->text + bounds[0], (size_t)length) == 0) {
            *guess = place + 1;
            return row;
        }
    }
    int64_t *bounds = found->bounds + found->names;
    if (found->names == found->capacity || length > found->room - bounds[0]) return NULL;
    memcpy(found->text + bounds[0], key.at, (size_t)length);
    bounds[1] = bounds[0] + length;
    int64_t *row = found->table + 6 * found->names++;
    const int64_t fresh[6] = {section, 0, 0, INT64_MAX, 0, -1};
    memcpy(row, fresh, sizeof fresh);
    *guess = found->names;
    return row;
}

static int note_values(message feature, const uint8_t *data, int64_t *row) {
    int64_t span[4];
    if (!read_feature(feature, data, span)) return 0;
    row[1] |= (int64_t)1 << span[2];
    if (span[3] < row[3]) row[3] = span[3];
    if (span[3] > row[4]) row[4] = span[3];
    return 1;
}

/* Each step of a list of features. */
static int note_steps(message list, const uint8_t *data, int64_t *row) {
    part field;
    while (list.at < list.end) {
        if (!read_part(&list, &field)) return 0;
        if (field.number != 1) continue;
        if (field.way != CHUNK || !note_values(field.content, data, row)) return 0;
    }
    return 1;
}

/* The entries of a map of features, or of lists of them. Returns 1, 0 where it is none, or -1 where there is no room. */
static int note_map(message map, const uint8_t *data, int64_t section, headrace_features *found) {
    int64_t guess = 0;
    part field;
    message key, value;
    while (map.at < map.end) {
        if (!read_part(&map, &field)) return 0;
        if (field.number != 1) continue;
        if (field.way != CHUNK || !read_entry(field.content, &key, &value)) return 0;
        int64_t *row = note_name(found, key, section, &guess);
        if (!row) return -1;
        if (!(section == 1 ? note_values(value, data, row) : note_steps(value, data, row))) return 0;
        row[2] += row[5] != found->records;
        row[5] = found->records;
    }
    return 1;
}

int64_t headrace_note_features(const uint8_t *data, const int64_t *offsets, const int64_t *lengths, int64_t count,
                               headrace_features *found) {
    for (int64_t i = 0; i < count; i++, found->records++) {
        message example = {data + offsets[i], data + offsets[i] + lengths[i]};
        part field;
        while (example.at < example.end) {
            if (!read_part(&example, &field)) return i;
            if (field.number > 2) continue;
            if (field.way != CHUNK) return i;
            const int noted = note_map(field.content, data, field.number, found);
            if (noted <= 0) return noted ? -2 : i;
        }
    }
    return -1;
}

/* Writes the values of a field of a list, and returns what is behind them; null where there is no room or no value. */
static int64_t *read_integers(const part *field, int64_t *out, const int64_t *end) {
    message packed = field->content;
    uint64_t value = field->value;
    if (field->way == VARINT) {
        if (out == end) return NULL;
        *out++ = (int64_t)value;
        return out;
    }
    while (packed.at < packed.end) {
        if (out == end || !read_varint(&packed, &value)) return NULL;
        *out++ = (int64_t)value;
    }
    return out;
}

static int read_values(const part *field, const uint8_t *data, int64_t kind, uint8_t **out, const uint8_t *end) {
    const int64_t length = field->content.end - field->content.at;
    if (kind == INTEGERS) {
        int64_t *behind = read_integers(field, (int64_t *)(void *)*out, (const int64_t *)(const void *)end);
        if (!behind) return 0;
        *out = (uint8_t *)behind;
    } else if (kind == FLOATS) {
        if (length > end - *out) return 0;
        memcpy(*out, field->content.at, (size_t)length); /* both are little-endian */
        *out += length;
    } else {
        const int64_t range[2] = {field->content.at - data, length};
        if ((int64_t)sizeof range > end - *out) return 0;
        memcpy(*out, range, sizeof range);
        *out += sizeof range;
    }
    return 1;
}

int64_t headrace_read_features(const uint8_t *data, const int64_t *spans, int64_t stride, int64_t count, int64_t kind,
                               int64_t value_bytes, void *out) {
    uint8_t *to = out;
    for (int64_t i = 0; i < count; i++, spans += stride) {
        message list = {data + spans[0], data + spans[0] + spans[1]};
        const uint8_t *end = to + spans[3] * value_bytes;
        part field;
        while (list.at < list.end) {
            if (!read_part(&list, &field)) return i;
            if (field.number == 1 && !read_values(&field, data, kind, &to, end)) return i;
        }
        if (to != end) return i;
    }
    return -1;
}

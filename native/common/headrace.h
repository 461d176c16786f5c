/* The native kernels: what each computes is said in src/headrace/kernels/reference/__init__.py, which they match bit for bit.
 *
 * No function keeps state, but for the number of threads that are at work, so any number of threads may call any of them.
 * Arguments are checked by the caller.
 */
#ifndef HEADRACE_H
#define HEADRACE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define HEADRACE_API __declspec(dllexport)
#elif defined(__GNUC__)
#define HEADRACE_API __attribute__((visibility("default")))
#else
#define HEADRACE_API
#endif

#if defined(_MSC_VER)
#define HEADRACE_RESTRICT __restrict
#else
#define HEADRACE_RESTRICT restrict
#endif

/* A loop compiled twice, for AVX2 and for any x86-64; the loader picks one. It needs the ifunc of glibc. */
#define HEADRACE_CLONES
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__has_attribute)
#if __has_attribute(target_clones) && (!defined(__clang__) || __clang_major__ >= 14)
#undef HEADRACE_CLONES
#define HEADRACE_CLONES __attribute__((target_clones("avx2", "default")))
#endif
#endif

#define HEADRACE_ABI 24
#define HEADRACE_MULTIPLIER_0 0xD2511F53u
#define HEADRACE_MULTIPLIER_1 0xCD9E8D57u
#define HEADRACE_FISHER_YATES_STREAM 0x48520001u
#define HEADRACE_FEISTEL_STREAM 0x48520002u

/* The calling convention of this library; grows when a signature below changes. */
HEADRACE_API int headrace_abi(void);

/* out: count rows of four words. */
HEADRACE_API void headrace_philox(uint64_t key, const uint64_t *indices, int64_t count, uint32_t stream,
                                  uint32_t block, uint32_t *out);

/* Makes the tables of the alias method. chances: how often each number comes in `count` draws; becomes the chance of its own
 * that a number keeps. left: room for `count` numbers. others: the number that is taken else. */
HEADRACE_API void headrace_alias(double *chances, int64_t count, int64_t *left, int64_t *others);

/* out: length values; length is at most 2^32. */
HEADRACE_API void headrace_fisher_yates(uint64_t key, int64_t length, int64_t *out);

/* out: stop - start values; 2 <= length <= 2^63 and start <= stop <= length. */
HEADRACE_API void headrace_feistel(uint64_t key, uint64_t length, uint64_t start, uint64_t stop, uint64_t *out);

/* How many positions of the van der Corput sequence before each have a value below the bound, both at most 2^62. */
HEADRACE_API void headrace_radical_count(const int64_t *positions, const uint64_t *bounds, int64_t count,
                                         int64_t *out);

/* The position whose value is, in order of position, the one of this rank (from 0) among those in [low, high). */
HEADRACE_API void headrace_radical_find(const uint64_t *lows, const uint64_t *highs, const int64_t *ranks,
                                        int64_t count, int64_t *out);

/* Pieces of values, and the places where they go. All numbers count items. */
typedef struct {
    const char *values;
    int64_t size, item_bytes; /* of the values */
    const int64_t *starts, *lengths, *places;
    int64_t count;
} headrace_pieces;

/* Writes the pieces to their places in out, which has `size` items, and `item` everywhere else. Returns the first piece that
 * lies outside of the values, or whose place is not behind that of the one before or ends outside of out, in which case
 * nothing is written, or -1. */
HEADRACE_API int64_t headrace_place_pieces(const headrace_pieces *pieces, const char *item, int64_t size, char *out);

/* PyList_GetItem, PyObject_GetBuffer, PyBuffer_Release and PyErr_Clear. */
typedef struct {
    void *(*item)(void *list, ptrdiff_t place);
    int (*open)(void *object, void *buffer, int flags);
    void (*close)(void *buffer);
    void (*clear)(void);
} headrace_buffers;

/* Says where the sequences begin that the count objects of a Python list are, and how many items they have: C-contiguous buffers of one
 * dimension and of items of so many bytes, whose memory stays while the objects do. The GIL must be held. Returns the items of
 * the longest; where object i is none, -1 - i. */
HEADRACE_API int64_t headrace_find_sequences(const headrace_buffers *python, void *list, int64_t count,
                                             int64_t item_bytes, const char **starts, int64_t *lengths);

/* The same of tensors of one dtype in the memory of the host. exchange: the DLPackExchangeAPI of their framework, whose type all of
 * them are of. */
HEADRACE_API int64_t headrace_find_tensors(const headrace_buffers *python, const void *exchange, void *list, int64_t count,
                                           int64_t item_bytes, const char **starts, int64_t *lengths);

/* Copies tensors of one dtype and shape, which lie in the memory of the host without gaps, one after the other to out. exchange: as
 * above. bytes: of each tensor. Returns the first that is none such, in which case the rest of out is left as it was, or -1. The GIL
 * must be held. */
HEADRACE_API int64_t headrace_stack_tensors(const headrace_buffers *python, const void *exchange, void *list, int64_t count,
                                            int64_t bytes, char *out);

/* Sequences that lie end to end or apart, and the rows that they become, each with padding behind or before it. */
typedef struct {
    const char *values;
    const char *const *starts; /* of each sequence that lies apart; NULL where they lie end to end in the values */
    int64_t size, item_bytes; /* of the values */
    const int64_t *lengths;
    int64_t count, width; /* how many sequences, and the items of a row */
    int64_t most;         /* items of a sequence that are kept */
    int64_t before;       /* whether the padding stands before the sequence */
} headrace_padding;

/* out: count rows of width items; `item` is the padding. Returns the first sequence that lies outside of the values or has no
 * room in its row, in which case nothing is written, or -1. */
HEADRACE_API int64_t headrace_pad(const headrace_padding *padding, const char *item, char *out);

/* How sequences are packed into rows. */
typedef struct {
    int64_t capacity; /* items a row, below 2^24 */
    int64_t window;   /* sequences that are packed among each other, below 2^31 */
    int64_t most;     /* sequences a row at most */
    int64_t first_fit; /* whether each goes to the first row with room, in their order; else the longest come first, each
                          to the row with the least room */
} headrace_packing;

/* members: the sequences, row by row; ends: where each row ends among them; both `count` long. Lengths are from 1 to the
 * capacity. Returns how many rows there are, or -1 where memory is missing. */
HEADRACE_API int64_t headrace_pack(const headrace_packing *packing, const int64_t *lengths, int64_t count,
                                   int64_t *members, int64_t *ends);

/* Rows of an array: where the first one lies, how far they are apart, and the bytes of each. */
typedef struct {
    const char *source;
    int64_t stride, bytes;
} headrace_rows;

/* Copies the rows at the indices, of each of `width` arrays of `rows` rows, to the array's place in out. Returns the place
 * of the first index outside [0, rows), in which case nothing is written, or -1. */
HEADRACE_API int64_t headrace_gather(const headrace_rows *columns, int64_t width, int64_t rows, const int64_t *indices,
                                     int64_t count, char *const *out);

/* Copies to out row rows[i] of shard which[i], of `width` shards of so many rows each, all of as many bytes. Returns the place
 * of the first one that there is not, in which case nothing is written, or -1. */
HEADRACE_API int64_t headrace_gather_shards(const headrace_rows *shards, const int64_t *lengths, int64_t width,
                                            const int64_t *which, const int64_t *rows, int64_t count, char *out);

/* Copies to out the rows at the indices of `width` shards end to end, all of rows of as many bytes; shard s has the rows from
 * bounds[s] to before bounds[s + 1]. Returns as headrace_gather. */
HEADRACE_API int64_t headrace_gather_joined(const headrace_rows *shards, const int64_t *bounds, int64_t width,
                                            const int64_t *indices, int64_t count, char *out);

/* Range i is lengths[i] bytes at offsets[i] of source which[i]; out: all of them, end to end. Each which[i] is the place of a
 * source. Returns the place of the first range outside of its source, in which case nothing is written, or -1. */
HEADRACE_API int64_t headrace_gather_ranges(const char *const *sources, const int64_t *sizes, const int64_t *which,
                                            const int64_t *offsets, const int64_t *lengths, int64_t count, char *out);

/* out: the integers in the ranges, end to end. lengths: how many each has. item: their bytes, negative where they are signed: 1, -1, 2, -2, 4, -4 or
 * -8. Returns as headrace_gather_ranges. */
HEADRACE_API int64_t headrace_widen_ranges(const char *const *sources, const int64_t *sizes, const int64_t *which,
                                           const int64_t *offsets, const int64_t *lengths, int64_t count,
                                           int64_t item, int64_t *out);

/* Windows of integers: window i begins with the byte offsets[i] of source which[i]. */
typedef struct {
    const char *const *sources;
    const int64_t *sizes;
    int64_t source_count;
    const int64_t *which, *offsets;
    int64_t count, length; /* how many windows, and the integers of each */
    int64_t shifts, item;  /* item as in headrace_widen_ranges */
} headrace_windows;

/* out: the integers of all windows as they are, then those one further on, and so on, as often as there are shifts. Returns the first window that lies
 * outside of its source, or has none; then nothing is written. Otherwise -1. */
HEADRACE_API int64_t headrace_widen_windows(const headrace_windows *windows, int64_t *out);

/* out: the CRC32C of each of the ranges. Returns as headrace_gather_ranges. */
HEADRACE_API int64_t headrace_crc32c(const char *const *sources, const int64_t *sizes, const int64_t *which,
                                     const int64_t *offsets, const int64_t *lengths, int64_t count, uint32_t *out);

/* One record of a file: where its bytes are, their CRC32C, and in a tar the number of its field. */
typedef struct {
    int64_t offset, length;
    uint32_t crc, field;
} headrace_record;

/* PyBytes_FromStringAndSize, PyBytes_AsString and PyList_SetItem. */
typedef struct {
    void *(*make)(const char *start, ptrdiff_t length);
    char *(*content)(void *bytes);
    int (*set_item)(void *list, ptrdiff_t place, void *item);
} headrace_python;

/* The copy that an object waits for, and the CRC32C that it should have. */
typedef struct {
    const char *from;
    char *to;
    int64_t length;
    uint32_t crc;
} headrace_copy;

/* Puts a bytes object for each of the ranges in a Python list of count items, whose content is still to come, and says in
 * copies what it is. The GIL must be held. Returns as headrace_gather_ranges; where Python raises an error it is -1. */
HEADRACE_API int64_t headrace_begin_ranges(const char *const *sources, const int64_t *sizes, const int64_t *which,
                                           const int64_t *offsets, const int64_t *lengths, int64_t count,
                                           headrace_copy *copies, const headrace_python *python, void *list);

/* A file of records: its bytes, and where in them its records are. */
typedef struct {
    const char *data;
    int64_t size;
    const headrace_record *records;
    int64_t count;
} headrace_file;

typedef struct {
    const headrace_file *all;
    int64_t count;
} headrace_files;

/* As headrace_begin_ranges, for records rows[i] of files which[i]. Returns the place of the first one that there is not, or
 * that lies outside of its file, or -1. */
HEADRACE_API int64_t headrace_begin_records(const headrace_files *files, const int64_t *which, const int64_t *rows,
                                            int64_t count, headrace_copy *copies, const headrace_python *python,
                                            void *list);

/* Makes the copies. With verify returns the place of the first one with another CRC32C, which is then in its copy; else -1. */
HEADRACE_API int64_t headrace_fill_bytes(headrace_copy *copies, int64_t count, int verify);

/* Lists the records of a TFRecord file from *position on, at most capacity of them, and moves *position behind the last.
 * *problem says what is wrong there: 0 nothing, 1 the data end within the record, 2 its length has another sum. */
HEADRACE_API int64_t headrace_scan_tfrecord(const uint8_t *data, int64_t size, int64_t *position, headrace_record *out,
                                            int64_t capacity, int64_t *problem);

/* A scan of a tar: the caller's arrays, and how far it is. Of a sample that goes on from an earlier part of the scan the
 * key is the first one. */
typedef struct {
    headrace_record *out;  /* capacity members */
    int64_t *firsts;       /* of each sample its first member; capacity + 1 of them */
    uint8_t *key_text;     /* key_room bytes */
    int64_t *key_bounds;   /* capacity + 2 */
    uint8_t *field_text;   /* field_room bytes */
    int64_t *field_bounds; /* field_capacity + 1 */
    int64_t *last_sample;  /* the last sample that each field was met in; field_capacity of them */
    int64_t capacity, key_room, field_capacity, field_room;
    int64_t position, members, samples, fields, skipped, sample;
} headrace_tar;

/* Lists the members of a tar that are files of a sample, from tar->position on. Returns what ended it: 0 the end of the
 * archive, 1 no room for more, 2 the end of the data; else what is wrong with the member that follows. */
HEADRACE_API int64_t headrace_scan_tar(const uint8_t *data, int64_t size, headrace_tar *tar);

/* Finds features by name in records that are tf.train.Example; bounds: count + 1. spans: of each record and name four
 * numbers: where in the data the list of values begins, its bytes, its kind (1 bytes, 2 floats, 3 integers, 0 there is no
 * such feature), and how many values it has. Returns the first record that is none, or -1. */
HEADRACE_API int64_t headrace_find_features(const uint8_t *data, const int64_t *bounds, int64_t count,
                                            const uint8_t *names, const int64_t *name_bounds, int64_t name_count,
                                            int64_t *spans);

/* The features of records, so far: the caller's arrays, and how many there are. */
typedef struct {
    uint8_t *text;   /* their names, end to end; room bytes */
    int64_t *bounds; /* capacity + 1 */
    int64_t *table;  /* capacity rows of six: 1 of a record or 2 of its steps, a bit for each kind it has, in how many
                        records it is, the fewest and most values, and the last record that it is in */
    int64_t capacity, room;
    int64_t records, names;
} headrace_features;

/* Notes the features of records that are tf.train.Example or SequenceExample. Returns the first record that is none, -1, or
 * -2 where there is no room for a name. */
HEADRACE_API int64_t headrace_note_features(const uint8_t *data, const int64_t *offsets, const int64_t *lengths,
                                            int64_t count, headrace_features *found);

/* Writes the values of one feature of each record: int64, float, or for bytes where they begin and how many they are.
 * spans: as found, `stride` numbers a record. Returns the first record whose values are none, or -1. */
HEADRACE_API int64_t headrace_read_features(const uint8_t *data, const int64_t *spans, int64_t stride, int64_t count,
                                            int64_t kind, int64_t value_bytes, void *out);

/* Where images come from once they are moved: places are as in headrace_pixels, and the moves begin from them. moves: rows of
 * eight numbers, as src/headrace/kernels/images.py has them; sizes: the height and width of each image before the first
 * of them, size_stride numbers apart. */
HEADRACE_API void headrace_move(const uint64_t *indices, int64_t count, const int64_t *sizes, int64_t size_stride,
                                const int64_t *moves, int64_t move_count, int32_t *places);

/* Some of the images of an array, all of one size. */
typedef struct {
    const uint8_t *data;
    int64_t image_stride, images; /* bytes between images, and how many there are */
    const int64_t *grid;          /* height, width, channels, and the strides of each in bytes */
    const int64_t *indices;       /* which images */
    int64_t count;
} headrace_source;

/* What becomes of the pixels of images, and where they are written. */
typedef struct {
    const int32_t *places;            /* rows of eight numbers, one an image */
    const int32_t *rows, *columns;    /* which lines of an image stand for those that places speak of; null: themselves */
    int64_t row_count, column_count;  /* how many of these there are */
    const void *table, *fill;         /* 256 items a channel, and one, each of item_bytes (1, 2 or 4) */
    const float *terms;               /* null, or three times three floats d, m, s: table[c][v] is (v / d[c] - m[c]) / s[c] */
    int64_t channels, item_bytes;
    const int64_t *grid;              /* height, width, channels, and the strides of each in items */
    int64_t image_stride;             /* items between images */
    void *out;
} headrace_pixels;

/* Cuts windows out of images and looks each value up in a table. Returns the number of the first image whose index or
 * place is wrong, or 0 where rows or columns are, in which case nothing is written, or -1. */
HEADRACE_API int64_t headrace_cut(const headrace_source *source, const headrace_pixels *pixels, int32_t threads);

/* How an image is turned before it is scaled: transposed, then its rows mirrored, then its columns. */
#define HEADRACE_COLUMNS_MIRRORED 1
#define HEADRACE_ROWS_MIRRORED 2
#define HEADRACE_TRANSPOSED 4

/* What a pixel of a scaled image is made of. */
#define HEADRACE_NEAREST 0
#define HEADRACE_BILINEAR 1
#define HEADRACE_BICUBIC 2

/* The part of each image that is scaled, and how. */
typedef struct {
    const double *boxes; /* top, left, bottom and right of each part */
    const int32_t *turns;
    const int32_t *sizes; /* height and width of each scaled image */
    int32_t interpolation, antialias; /* antialias: a curve is as wide as the pixels of the scaled image */
} headrace_scaled;

/* headrace_cut of images that are scaled first: the places, rows and columns are those of scaled images. A failure, one
 * number an image, is 1 where memory was missing, else 0. */
HEADRACE_API void headrace_scale(const headrace_source *source, const headrace_scaled *scaled,
                                 const headrace_pixels *pixels, int32_t threads, int32_t *failures);

/* Where each pixel of new images is taken from, and where it is written. */
typedef struct {
    const double *maps;   /* eight numbers an image: the middle (x, y) of a pixel comes from the place
                             ((a x + b y + c) / (g x + h y + 1), (d x + e y + f) / (g x + h y + 1)) */
    const double *shifts; /* null, or two numbers a pixel that are added to its place: to x, and to y */
    const void *fill;     /* an item a channel: what lies around the images */
    int32_t interpolation;
    int64_t item_bytes;   /* 1, 2, 4 or 8; between pixels 1 for bytes, 4 for floats and 8 for doubles */
    const int64_t *grid;  /* height, width, channels, and the strides of each in bytes */
    int64_t image_stride; /* bytes between images */
    void *out;
} headrace_warped;

/* Makes images of others by maps, each pixel from the nearest one or from the four around its place. */
HEADRACE_API void headrace_warp(const headrace_source *source, const headrace_warped *warped, int32_t threads);

/* Bytes of a message, its end included. */
#define HEADRACE_MESSAGE 200

/* Which JPEG images headrace_decode knows: 1 baseline ones alone, 2 those that libjpeg knows, too. */
HEADRACE_API int headrace_decodes(void);

/* out: four numbers a file: height, width, components and EXIF orientation of a JPEG image as stored; zeros where there
 * is none. */
HEADRACE_API void headrace_jpeg_headers(const uint8_t *const *files, const int64_t *lengths, int64_t count,
                                        int32_t *out);

/* JPEG images in memory. */
typedef struct {
    const uint8_t *const *files;
    const int64_t *lengths;
    int64_t count;
    const int32_t *headers;      /* what headrace_jpeg_headers found */
    const int32_t *denominators; /* at which part of its size each is decoded: 1, 2, 4 or 8 */
} headrace_jpegs;

/* headrace_scale of JPEG images: boxes are in pixels of the decoded size, turned. Messages: one a file, empty where nothing
 * failed. */
HEADRACE_API void headrace_decode(const headrace_jpegs *jpegs, const headrace_scaled *scaled,
                                  const headrace_pixels *pixels, int32_t threads, char *messages);

/* Philox4x32-10 on one counter, in place. */
static inline void headrace_philox_words(uint64_t key, uint32_t words[4]) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)words[0] * HEADRACE_MULTIPLIER_0;
        const uint64_t p1 = (uint64_t)words[2] * HEADRACE_MULTIPLIER_1;
        words[0] = (uint32_t)(p1 >> 32) ^ words[1] ^ k0;
        words[1] = (uint32_t)p1;
        words[2] = (uint32_t)(p0 >> 32) ^ words[3] ^ k1;
        words[3] = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

#endif

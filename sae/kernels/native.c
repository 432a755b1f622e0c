/* The sparse work of a training step on a CPU, over active pairs only. What each function computes stands in
 * `kernels/__init__.py`; here is how. Rows are shared out between threads and every sum is made in one order for a given
 * number of threads, so that a run can be repeated bit for bit. Built when the package is installed, if a compiler is
 * there; plain torch does the same work without it.
 *
 * OpenMP's symbols are left open when this is linked and taken from torch's own runtime: a second pool of threads would
 * fight with torch's over the cores. */

#include <omp.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "`above` reads flags as the bytes of a little-endian number"
#endif

/* One compiled form for each generation of x86, chosen when the library is loaded. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define EVERY_PROCESSOR __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define EVERY_PROCESSOR
#endif

enum { LANES = 16, BLOCK = 64, AHEAD = 4 };
typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4)));
#define AT(a) (*(const lanes *)(a))

/* The rows that entries lead to lie anywhere in a large array: ask for them before they are needed. */
static void fetch_row(const float *dense, const int32_t *columns, int64_t entry, int64_t n_entries, int64_t d) {
    if (entry >= n_entries) return;
    const float *row = dense + columns[entry] * d;
    for (int64_t i = 0; i < d; i += LANES) __builtin_prefetch(row + i);
}

/* Four running sums, because one would wait for each addition to end before the next. */
EVERY_PROCESSOR static float dot(const float *a, const float *b, int64_t d) {
    lanes s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    int64_t i = 0;
    for (; i + 4 * LANES <= d; i += 4 * LANES) {
        s0 += AT(a + i) * AT(b + i);
        s1 += AT(a + i + LANES) * AT(b + i + LANES);
        s2 += AT(a + i + 2 * LANES) * AT(b + i + 2 * LANES);
        s3 += AT(a + i + 3 * LANES) * AT(b + i + 3 * LANES);
    }
    float sum = 0;
    for (; i < d; i++) sum += a[i] * b[i];
    s0 = (s0 + s1) + (s2 + s3);
    for (int k = 0; k < LANES; k++) sum += s0[k];
    return sum;
}

EVERY_PROCESSOR static void add_four(float *out, const float *const rows[4], const float *v, int64_t d) {
    const float *a = rows[0], *b = rows[1], *c = rows[2], *e = rows[3];
    for (int64_t i = 0; i < d; i++) out[i] += (v[0] * a[i] + v[1] * b[i]) + (v[2] * c[i] + v[3] * e[i]);
}

EVERY_PROCESSOR static void add_one(float *out, const float *row, float v, int64_t d) {
    for (int64_t i = 0; i < d; i++) out[i] += v * row[i];
}

/* out [d] += Σ values[e] dense[columns[e]] over entries `first` to `last` of n_entries */
static void add_rows(float *out, const int32_t *columns, const float *values, int64_t first, int64_t last,
                     int64_t n_entries, const float *dense, int64_t d) {
    int64_t e = first;
    for (; e + 4 <= last; e += 4) {
        const float *rows[4];
        for (int k = 0; k < 4; k++) {
            fetch_row(dense, columns, e + k + AHEAD, n_entries, d);
            rows[k] = dense + columns[e + k] * d;
        }
        add_four(out, rows, values + e, d);
    }
    for (; e < last; e++) {
        fetch_row(dense, columns, e + AHEAD, n_entries, d);
        add_one(out, dense + columns[e] * d, values[e], d);
    }
}

void add_product(const int64_t *offsets, const int32_t *columns, const float *values, int64_t n, const float *dense,
                 int64_t d, float *out) {
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t r = 0; r < n; r++)
        add_rows(out + r * d, columns, values, offsets[r], offsets[r + 1], offsets[n], dense, d);
}

void sampled(const int64_t *offsets, const int32_t *columns, int64_t n, const float *left, const float *right, int64_t d,
             float *out) {
#pragma omp parallel for schedule(dynamic, 32)
    for (int64_t r = 0; r < n; r++)
        for (int64_t e = offsets[r]; e < offsets[r + 1]; e++) {
            fetch_row(right, columns, e + AHEAD, offsets[n], d);
            out[e] = dot(left + r * d, right + columns[e] * d, d);
        }
}

/* Counting sort: where each column's entries begin, offsets [m + 1], and the entries by column, order [n]. */
void by_column(const int32_t *columns, int64_t n, int64_t m, int64_t *offsets, int64_t *order) {
    memset(offsets, 0, (m + 1) * sizeof *offsets);
    for (int64_t e = 0; e < n; e++) offsets[columns[e] + 1]++;
    for (int64_t c = 0; c < m; c++) offsets[c + 1] += offsets[c];
    for (int64_t e = 0; e < n; e++) order[offsets[columns[e]]++] = e;
    memmove(offsets + 1, offsets, m * sizeof *offsets); /* each stands at its end now, where the next begins */
    offsets[0] = 0;
}

/* x [n, d] to bfloat16, to nearest even; of each row its norm squared, and that of what rounding took. */
EVERY_PROCESSOR static void round_row(const float *x, uint16_t *low, float *squares, int64_t d) {
    float whole = 0, lost = 0;
    for (int64_t i = 0; i < d; i++) {
        union { float value; uint32_t bits; } exact = {x[i]}, rounded;
        uint16_t kept = (uint16_t)((exact.bits + 0x7fff + ((exact.bits >> 16) & 1)) >> 16);
        rounded.bits = (uint32_t)kept << 16;
        low[i] = kept;
        whole += x[i] * x[i];
        lost += (x[i] - rounded.value) * (x[i] - rounded.value);
    }
    squares[0] = whole, squares[1] = lost;
}

void rounded(const float *x, int64_t n, int64_t d, uint16_t *low, float *squares) {
#pragma omp parallel for
    for (int64_t r = 0; r < n; r++) round_row(x + r * d, low + r * d, squares + 2 * r, d);
}

static inline float from_bfloat16(uint16_t bits) {
    union { uint32_t bits; float value; } whole = {(uint32_t)bits << 16};
    return whole.value;
}

/* Places and values in one row that exceed its floor: flags at vector speed, then only those that are set, eight bytes
 * looked at together. */
#define SCAN(NAME, TYPE, READ)                                                                                         \
    EVERY_PROCESSOR static int64_t NAME(const TYPE *scores, float row, const float *columns, int64_t m, int32_t *place, \
                                        float *value) {                                                                \
        int64_t found = 0;                                                                                             \
        for (int64_t begin = 0; begin < m; begin += BLOCK) {                                                           \
            uint8_t flags[BLOCK] = {0};                                                                                \
            int64_t size = begin + BLOCK < m ? BLOCK : m - begin;                                                      \
            if (size == BLOCK)                                                                                         \
                for (int i = 0; i < BLOCK; i++) flags[i] = READ(scores[begin + i]) > row + columns[begin + i];         \
            else                                                                                                       \
                for (int i = 0; i < size; i++) flags[i] = READ(scores[begin + i]) > row + columns[begin + i];          \
            for (int w = 0; w < BLOCK; w += 8) {                                                                       \
                uint64_t word;                                                                                         \
                memcpy(&word, flags + w, 8);                                                                           \
                if (!word) continue;                                                                                   \
                for (; word; word &= word - 1) {                                                                       \
                    int64_t j = begin + w + (__builtin_ctzll(word) >> 3);                                              \
                    place[found] = (int32_t)j;                                                                         \
                    value[found++] = READ(scores[j]);                                                                  \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        return found;                                                                                                  \
    }
#define AS_IT_IS(x) (x)
SCAN(scan_float32, float, AS_IT_IS)
SCAN(scan_bfloat16, uint16_t, from_bfloat16)

/* offsets [n + 1]; places and values have room for all n m, of which only what is written to costs memory. Each thread
 * begins where its rows would, then the parts are drawn together. Returns how many were found. */
int64_t above(const void *scores, int64_t is_bfloat16, const float *rows, const float *columns, int64_t n, int64_t m,
              int64_t *offsets, int32_t *places, float *values) {
    int threads = omp_get_max_threads();
    int64_t per = (n + threads - 1) / threads, total = 0;
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int t = 0; t < threads; t++) {
        int64_t last = (t + 1) * per < n ? (t + 1) * per : n, end = t * per * m;
        for (int64_t r = t * per; r < last; r++) {
            const void *row = (const char *)scores + r * m * (is_bfloat16 ? 2 : 4);
            offsets[r + 1] = is_bfloat16 ? scan_bfloat16(row, rows[r], columns, m, places + end, values + end)
                                         : scan_float32(row, rows[r], columns, m, places + end, values + end);
            end += offsets[r + 1];
        }
    }
    offsets[0] = 0;
    for (int t = 0; t < threads; t++) {
        int64_t last = (t + 1) * per < n ? (t + 1) * per : n, found = 0;
        for (int64_t r = t * per; r < last; r++) {
            found += offsets[r + 1];
            offsets[r + 1] = total + found;
        }
        memmove(places + total, places + t * per * m, found * sizeof *places);
        memmove(values + total, values + t * per * m, found * sizeof *values);
        total += found;
    }
    return total;
}

/* The k-th largest by halving the range of its bits, as numbers that are not negative are ordered like their bits: some
 * passes over a row that is in the nearest cache. */
#define KEEP(NAME, COUNT, CLEAR, TYPE, INFINITE)                                                                       \
    EVERY_PROCESSOR static int32_t COUNT(const TYPE *bits, int64_t n, TYPE least) {                                    \
        int32_t count = 0;                                                                                             \
        for (int64_t i = 0; i < n; i++) count += bits[i] >= least;                                                     \
        return count;                                                                                                  \
    }                                                                                                                  \
    EVERY_PROCESSOR static void CLEAR(TYPE *bits, int64_t n, TYPE least) {                                             \
        for (int64_t i = 0; i < n; i++) bits[i] = bits[i] < least ? 0 : bits[i];                                       \
    }                                                                                                                  \
    static void NAME(TYPE *bits, int64_t m, int64_t k) {                                                               \
        int64_t low = 1, high = INFINITE, from_low = COUNT(bits, m, 1); /* fewer than k from `high` on */              \
        if (from_low <= k) return;                                                                                     \
        while (high - low > 1 && from_low != k) {                                                                      \
            int64_t middle = low + (high - low) / 2, count = COUNT(bits, m, (TYPE)middle);                             \
            if (count >= k)                                                                                            \
                low = middle, from_low = count;                                                                        \
            else                                                                                                       \
                high = middle;                                                                                         \
        }                                                                                                              \
        CLEAR(bits, m, (TYPE)low);                                                                                     \
        for (int64_t j = 0; j < m && from_low > k; j++) /* of those that equal `low`, the first go */                  \
            if (bits[j] == low) bits[j] = 0, from_low--;                                                               \
    }
KEEP(keep_float32, count_float32, clear_float32, int32_t, INT32_MAX)
KEEP(keep_bfloat16, count_bfloat16, clear_bfloat16, int16_t, INT16_MAX)

void keep_largest(void *x, int64_t is_bfloat16, int64_t n, int64_t m, int64_t k) {
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t r = 0; r < n; r++)
        if (is_bfloat16)
            keep_bfloat16((int16_t *)x + r * m, m, k);
        else
            keep_float32((int32_t *)x + r * m, m, k);
}

/* What scores stand for at least: score - rounding |score| + column; what is not positive as 0. */
EVERY_PROCESSOR static void lowest(const void *scores, int64_t is_bfloat16, float rounding, const float *columns,
                                   int64_t m, float *out) {
    const uint16_t *rounded_scores = scores;
    const float *exact_scores = scores;
    for (int64_t j = 0; j < m; j++) {
        float score = is_bfloat16 ? from_bfloat16(rounded_scores[j]) : exact_scores[j];
        float least = score - rounding * (score < 0 ? -score : score) + columns[j];
        out[j] = least > 0 ? least : 0;
    }
}

/* Bits of a number that at least k of the values reach, and at most a quarter of k more if they can be told apart. The
 * search begins round `guess`, the answer for the row before. */
static int32_t floor_of(const int32_t *bits, int64_t m, int64_t k, int64_t guess) {
    int64_t low = 1, high = (int64_t)INT32_MAX + 1, probe = guess, stride = 1 << 19; /* a sixteenth */
    if (count_float32(bits, m, 1) < k) return 0;
    while (high - low > 1) {
        int64_t count = count_float32(bits, m, (int32_t)probe);
        if (count >= k && count <= k + k / 4) return (int32_t)probe;
        if (count >= k) {
            low = probe;
            probe = high <= INT32_MAX ? low + (high - low) / 2 : (low + stride < INT32_MAX ? low + stride : INT32_MAX);
        } else {
            high = probe;
            probe = low > 1 ? low + (high - low) / 2 : (high - stride > 1 ? high - stride : 1 + (high - 1) / 2);
        }
        stride *= 2;
    }
    return (int32_t)low;
}

/* scratch [threads, m] */
void floors(const void *scores, int64_t is_bfloat16, double rounding, const float *columns, int64_t n, int64_t m,
            int64_t k, int64_t threads, float *scratch, float *out) {
    int64_t per = (n + threads - 1) / threads;
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int64_t t = 0; t < threads; t++) {
        int64_t last = (t + 1) * per < n ? (t + 1) * per : n, guess = 1 << 30;
        for (int64_t r = t * per; r < last; r++) {
            const void *row = (const char *)scores + r * m * (is_bfloat16 ? 2 : 4);
            lowest(row, is_bfloat16, (float)rounding, columns, m, scratch + t * m);
            int32_t found = floor_of((const int32_t *)(scratch + t * m), m, k, guess);
            memcpy(out + r, &found, 4);
            if (found > 1) guess = found;
        }
    }
}

EVERY_PROCESSOR static float put_down(float *to, const float *from, float *sum, int64_t d) {
    float square = 0;
    for (int64_t i = 0; i < d; i++) {
        to[i] = from[i];
        sum[i] += from[i];
        square += from[i] * from[i];
    }
    return square;
}

EVERY_PROCESSOR static void weigh(float *row, float weight, const float *following, int64_t d) {
    for (int64_t i = 0; i < d; i++) row[i] = weight * row[i] + (following ? following[i] : 0);
}

/* squares [threads, levels] and sums [threads, levels, d] start at zero; scratch [threads, d]. Forward and backward in
 * one visit, while a token's rows of the decoder are near. */
void nested(const int64_t *offsets, const int32_t *concepts, const uint8_t *levels, const float *activations, int64_t n,
            const float *decoder, const float *centred, int64_t d, const float *weights, int64_t n_levels,
            int64_t threads, float *scratch, double *squares, float *sums, float *upstream, float *slopes) {
    int64_t per = (n + threads - 1) / threads;
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int64_t t = 0; t < threads; t++) {
        int64_t last = (t + 1) * per < n ? (t + 1) * per : n;
        float *error = scratch + t * d;
        for (int64_t r = t * per; r < last; r++) {
            for (int64_t i = 0; i < d; i++) error[i] = -centred[r * d + i];
            int64_t e = offsets[r], end = offsets[r + 1];
            for (int64_t l = 0; l < n_levels; l++) {
                int64_t first = e;
                while (e < end && levels[e] == l) e++;
                add_rows(error, concepts, activations, first, e, offsets[n], decoder, d);
                squares[t * n_levels + l] += put_down(upstream + (l * n + r) * d, error, sums + (t * n_levels + l) * d, d);
            }
            for (int64_t l = n_levels - 1; l >= 0; l--)
                weigh(upstream + (l * n + r) * d, weights[l], l + 1 < n_levels ? upstream + ((l + 1) * n + r) * d : NULL, d);
            for (e = offsets[r]; e < end; e++)
                slopes[e] = dot(upstream + (levels[e] * n + r) * d, decoder + concepts[e] * d, d);
        }
    }
}

/* Vectors and products of small matrices for the compiled code, in the vector extensions of GCC and Clang.
 *
 * Built once for each set of instructions (see setup.py). All builds make the same sums in the same order, fused where
 * the instructions can. "Padded" arrays have rows of whole vectors, filled up with zeros; `vectors` is how many make a
 * row.
 */
#ifndef VECTORS_H
#define VECTORS_H

#include <stdint.h>
#include <string.h>

/* As many sums of a matrix product at a time as there are registers for, beside those for their factors. */
#if defined(__AVX512F__)
enum { LANES = 16, COLUMNS = 4 };
#elif defined(__AVX__)
enum { LANES = 8, COLUMNS = 2 };
#else /* NEON; with a fourth column GCC spills sums */
enum { LANES = 4, COLUMNS = 3 };
#endif
enum { ROWS = 6 };

typedef float vector __attribute__((vector_size(4 * LANES)));
typedef int32_t integers __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))
/* Loops that must be unrolled, or the sums are not in registers. Clang ignores what GCC asks for. */
#ifdef __clang__
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 8")
#endif
#define EACH(index, count) UNROLLED for (int index = 0; index < (count); index++)

/* What lies between the ends of a row of blocks of columns: a call with the width of each as a constant. */
#define FOR_BLOCKS(begin, vectors, block, ...)                              \
    for (long first = (begin); first < (vectors); first += COLUMNS)         \
        switch ((vectors) - first) {                                        \
        case 1: block(1, first, __VA_ARGS__); break;                        \
        case 2: block(2, first, __VA_ARGS__); break;                        \
        case 3: block(COLUMNS < 3 ? COLUMNS : 3, first, __VA_ARGS__); break; \
        default: block(COLUMNS, first, __VA_ARGS__);                        \
        }

/* sums += left weights, for ROWS rows of `left` and a block of columns of the padded weights. */
INLINE void add_product(int columns, const float *left, long left_row, long left_column, long depth,
                        const vector *weights, long vectors, vector sums[ROWS][COLUMNS])
{
    for (long k = 0; k < depth; k++)
        EACH(c, columns) {
            vector weight = weights[k * vectors + c];
            EACH(r, ROWS) sums[r][c] += left[r * left_row + k * left_column] * weight;
        }
}

/* Fill rows of a scratch array, `row` numbers apart, with rows of an array, `units` numbers apart; or back. */
INLINE void copy_rows(float *to, long to_row, const float *from, long from_row, int rows, long units)
{
    for (int r = 0; r < rows; r++) memcpy(to + r * to_row, from + r * from_row, 4 * units);
}

/* A number of columns, filled up to whole vectors. */
static inline long padded(long size) { return (size + LANES - 1) / LANES * LANES; }

#endif

/* INSD's penalty (objectives/predictivity.py) for one network in single precision, but for what it solves: centred
 * samples, sums of products over them, and the gradient, each in one pass over memory.
 *
 * With centred rates X and components Y, what divides each component s, orthonormal rows B with the span of the
 * readout's, G = X^T X, and C = X^T Y / s, the null space Q = I - B^T B gives A = Q G Q + rho I and D = Q C. The
 * weights M = A^-1 D are found outside.
 */
#include <math.h>

#include "vectors.h"

/* So many samples at a time stay in the nearest cache. */
enum { SAMPLES = 48 };

/* into += left weights, for ROWS rows; sums of long columns, part by part, round less. */
INLINE void multiply(int columns, long first, const float *left, long left_row, long left_column, long depth,
                     const vector *weights, long vectors, vector *into)
{
    vector sums[ROWS][COLUMNS];
    EACH(r, ROWS) EACH(c, columns) sums[r][c] = (vector){0};
    add_product(columns, left, left_row, left_column, depth, weights + first, vectors, sums);
    EACH(r, ROWS) EACH(c, columns) into[r * vectors + first + c] += sums[r][c];
}

/* How many numbers of scratch, beginning at a multiple of 64 bytes, the functions below need. */
long penalty_scratch_size(long units, long outputs, long components)
{
    long row = padded(units) + padded(components + outputs);
    return row * (2 + units + components + outputs + SAMPLES + 3 * ROWS) + 2 * outputs * (units + components + outputs) + 2 * LANES;
}

/* Fills the mean over the samples that count: rows of `size` numbers, those of a time one after the other. */
static void mean_of(long times, long trials, long stride, long size, const float *values, const float *valid,
                    float *partial, float *mean)
{
    double count = 0;
    memset(mean, 0, 4 * size);
    for (long time = 0; time < times; time++) {
        memset(partial, 0, 4 * size);
        for (long trial = 0; trial < trials; trial++) {
            const float *row = values + time * stride + trial * size;
            float counts = valid ? valid[time * trials + trial] : 1.0f;
            for (long k = 0; k < size; k++) partial[k] += counts * row[k];
            count += counts;
        }
        for (long k = 0; k < size; k++) mean[k] += partial[k];
    }
    for (long k = 0; k < size; k++) mean[k] /= (float)count;
}

/* Rows of arrays of samples, those of a time one after the other, less their mean; zeros where they do not count. */
static void centre(long from, long count, long trials, long stride, long size, const float *values, const float *valid,
                   const float *mean, float *to, long to_row)
{
    for (long i = 0; i < count; i++) {
        float counts = valid ? valid[from + i] : 1.0f;
        const float *row = values + (from + i) / trials * stride + (from + i) % trials * size;
        for (long k = 0; k < size; k++) to[i * to_row + k] = counts * (row[k] - mean[k]);
    }
}

/* Adds up rows of X^T X, of which what is right of the diagonal, with rows of X^T Y behind them; and squares of Y. */
static void add_up(long times, long trials, long stride, long units, long components, const float *rates,
                   const float *earlier, const float *valid, const float *mean, float *partial, float *block,
                   float *sums, double *squares)
{
    const long behind = padded(units), row = behind + padded(components), vectors = row / LANES;
    const long samples = times * trials;

    for (long from = 0; from < samples; from += SAMPLES) {
        long count = samples - from < SAMPLES ? samples - from : SAMPLES;
        centre(from, count, trials, stride, units, rates, valid, mean, block, row);
        centre(from, count, trials, trials * components, components, earlier, valid, mean + behind, block + behind,
               row);
        memset(partial, 0, 4 * components);
        for (long i = 0; i < count; i++)
            for (long c = 0; c < components; c++) partial[c] += block[i * row + behind + c] * block[i * row + behind + c];
        for (long c = 0; c < components; c++) squares[c] += partial[c];
        for (long unit = 0; unit < units; unit += ROWS) {
            FOR_BLOCKS(unit / LANES, vectors, multiply, block + unit, 1, row, count, (const vector *)block, vectors,
                       (vector *)(sums + unit * row))
        }
    }
}

/* into += factor left^T right, for `rows` rows of both. */
static void add_transposed(double factor, long rows, long count, long size, const double *left, const double *right,
                           double *into)
{
    for (long r = 0; r < rows; r++)
        for (long i = 0; i < count; i++) {
            double weight = factor * left[r * count + i];
            for (long k = 0; k < size; k++) into[i * size + k] += weight * right[r * size + k];
        }
}

/* into += factor left right, for `rows` rows of `left`. */
static void add_rows(double factor, long rows, long count, long size, const double *left, const double *right,
                     double *into)
{
    for (long r = 0; r < rows; r++)
        for (long i = 0; i < count; i++) {
            double weight = factor * left[r * count + i];
            for (long k = 0; k < size; k++) into[r * size + k] += weight * right[i * size + k];
        }
}

/* `across` = seen B^T, and rest = seen - factor across B: how much of rows lies in the readout's span, and the rest. */
static void leave_out(double factor, long outputs, long units, const double *seen, const double *basis,
                      double *across, double *rest)
{
    for (long o = 0; o < outputs; o++)
        for (long p = 0; p < outputs; p++) {
            double sum = 0;
            for (long u = 0; u < units; u++) sum += seen[o * units + u] * basis[p * units + u];
            across[o * outputs + p] = sum;
        }
    memcpy(rest, seen, 8 * outputs * units);
    add_rows(-factor, outputs, outputs, units, across, basis, rest);
}

/* The matrices of X and Y, which are rates and components centred over the samples that count.
 *
 *   rates      (time, trial, unit), times `stride` numbers apart
 *   earlier    (time, trial, component)
 *   valid      (time, trial): 1 for samples that count, else 0; or NULL
 *   membership (component, earlier): 1 where a component belongs to an earlier network, whose norm divides it
 *   basis      (output, unit): B
 *   mean       (unit and component, each filled up to whole vectors)
 *   scale      (component): 1 / s
 *   cross      (unit, component): C
 *   seen       (output, unit): B G
 *   shifted    (unit, unit): A
 *   null_cross (unit, component): D
 */
void penalty_matrices(long times, long trials, long stride, long units, long outputs, long components, long networks,
                      const float *rates, const float *earlier, const float *valid, const float *membership,
                      const double *basis, double ridge, float *scratch, float *mean, double *scale, double *cross, double *seen, double *shifted, double *null_cross)
{
    const long behind = padded(units), row = behind + padded(components);
    float *partial = scratch, *sums = partial + row, *block = sums + (units + ROWS) * row;
    double *small = (double *)(block + (SAMPLES + 2 * ROWS) * row);

    mean_of(times, trials, stride, units, rates, valid, partial, mean);
    mean_of(times, trials, trials * components, components, earlier, valid, partial, mean + behind);
    memset(sums, 0, 4 * (units + ROWS + SAMPLES + ROWS) * row);
    memset(null_cross, 0, 8 * components);
    add_up(times, trials, stride, units, components, rates, earlier, valid, mean, partial, block, sums, null_cross);

    memset(scale, 0, 8 * components);
    for (long n = 0; n < networks; n++) {
        double norm = 0;
        for (long c = 0; c < components; c++) norm += null_cross[c] * membership[c * networks + n];
        for (long c = 0; c < components; c++) scale[c] += membership[c * networks + n] / sqrt(norm);
    }
    for (long u = 0; u < units; u++) {
        for (long other = u; other < units; other++)
            shifted[u * units + other] = shifted[other * units + u] = sums[u * row + other];
        for (long c = 0; c < components; c++) cross[u * components + c] = sums[u * row + behind + c] * scale[c];
    }

    memset(seen, 0, 8 * outputs * units);
    add_rows(1, outputs, units, units, basis, shifted, seen);
    double *across = small, *half = across + outputs * outputs, *seen_cross = half + outputs * units, trace = 0;
    leave_out(0.5, outputs, units, seen, basis, across, half);
    add_transposed(-1, outputs, units, units, basis, half, shifted);
    add_transposed(-1, outputs, units, units, half, basis, shifted);
    for (long u = 0; u < units; u++) trace += shifted[u * units + u];
    for (long u = 0; u < units; u++) shifted[u * units + u] += ridge * (trace / units);

    memset(seen_cross, 0, 8 * outputs * components);
    add_rows(1, outputs, units, components, basis, cross, seen_cross);
    memcpy(null_cross, cross, 8 * units * components);
    add_transposed(-1, outputs, units, components, basis, seen_cross, null_cross);
}

/* Fills the gradient with respect to the rates, 2 (Y_w - X M_w) M^T + 2 c X Q, and what that with respect to the
 * readout is made of, (B (C - G M) M_w^T + c B G Q); with the names of `penalty_matrices` and of _Penalty in
 * objectives/predictivity.py, and
 *
 *   weights   (unit, component): M
 *   factors   (component): the gradient with respect to the penalty that it is part of
 *   grad      (sample, unit)
 *   inner     (output, unit)
 */
void penalty_gradient(long times, long trials, long stride, long units, long outputs, long components,
                      const float *rates, const float *earlier, const float *valid, const float *mean, const double *scale, const double *cross, const double *basis,
                      const double *seen, const double *weights, const double *factors, double ridge, float *scratch,
                      float *grad, double *inner)
{
    const long row = padded(units), vectors = row / LANES, depth = components + outputs;
    const long residual_row = padded(depth), residual_vectors = residual_row / LANES;
    /* (Y, 0) + X into are the residuals and what the readout sees; their product with `back` is the gradient, but for
     * what is in proportion to X. */
    float *into = scratch, *back = into + units * residual_row, *left = back + depth * row, *now = left + ROWS * row;
    float *residual = now + ROWS * row;
    double *small = (double *)(residual + ROWS * residual_row), of_ridge = 0;

    for (long u = 0; u < units; u++)
        for (long c = 0; c < components; c++)
            of_ridge -= weights[u * components + c] * weights[u * components + c] * factors[c];
    of_ridge *= ridge / units;
    memset(into, 0, 4 * (units * residual_row + (depth + ROWS) * row));
    for (long u = 0; u < units; u++) {
        for (long c = 0; c < components; c++) {
            double weight = weights[u * components + c];
            into[u * residual_row + c] = -weight / scale[c];
            back[c * row + u] = 2 * scale[c] * factors[c] * weight;
        }
        for (long o = 0; o < outputs; o++) {
            into[u * residual_row + components + o] = basis[o * units + u];
            back[(components + o) * row + u] = -2 * of_ridge * basis[o * units + u];
        }
    }
    const float factor = 2 * of_ridge;
    const long samples = times * trials;
    for (long sample = 0; sample < samples; sample += ROWS) {
        int rows = samples - sample < ROWS ? samples - sample : ROWS;
        centre(sample, rows, trials, stride, units, rates, valid, mean, left, row);
        for (long i = 0; i < ROWS * row; i++) now[i] = factor * left[i];
        memset(residual, 0, 4 * ROWS * residual_row);
        centre(sample, rows, trials, trials * components, components, earlier, valid, mean + row, residual,
               residual_row);
        FOR_BLOCKS(0, residual_vectors, multiply, left, row, 1, units, (const vector *)into, residual_vectors,
                   (vector *)residual)
        FOR_BLOCKS(0, vectors, multiply, residual, residual_row, 1, depth, (const vector *)back, vectors,
                   (vector *)now)
        copy_rows(grad + sample * units, units, now, row, rows, units);
    }

    double *across = small, *rest = across + outputs * outputs, *missing = rest + outputs * units;
    leave_out(1, outputs, units, seen, basis, across, rest);
    memset(missing, 0, 8 * outputs * components);
    add_rows(1, outputs, units, components, basis, cross, missing);
    add_rows(-1, outputs, units, components, seen, weights, missing);
    for (long o = 0; o < outputs; o++)
        for (long u = 0; u < units; u++) {
            double sum = of_ridge * rest[o * units + u];
            for (long c = 0; c < components; c++)
                sum += missing[o * components + c] * weights[u * components + c] * factors[c];
            inner[o * units + u] = sum;
        }
}

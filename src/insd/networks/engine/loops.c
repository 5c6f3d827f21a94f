/* The loops over time of bptt.py and of tangent.py, whose heads say what they compute, for one network in single
 * precision; and the private noise that enters them.
 *
 * Trials do not depend on each other. A few of them go through all times together, so that their states stay in
 * registers and in the nearest cache, and the weights, which all trials share, in the next. What PyTorch does in
 * several passes over memory per time step is one pass here.
 */
#include "vectors.h"

/* The numbers of the functions of the state in nonlinearity.py. */
enum { TANH, RELU, SOFTPLUS };

/* A call with the nonlinearity as a constant, so that no loop asks which it is. */
#define FOR_NONLINEARITY(nonlinearity, call, ...)            \
    switch (nonlinearity) {                                  \
    case RELU: call(RELU, __VA_ARGS__); break;               \
    case SOFTPLUS: call(SOFTPLUS, __VA_ARGS__); break;       \
    default: call(TANH, __VA_ARGS__);                        \
    }

/* e^x as 2^n e^f with |f| <= ln(2) / 2, the last by its Taylor series; for |x| < 87. Not a number stays so. */
INLINE vector exponential(vector x)
{
    const float to_integer = 12582912.0f; /* 1.5 * 2^23: what is added to it is rounded to an integer. */
    const float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    vector shifted = x * 1.442695041f + to_integer, n = shifted - to_integer;
    vector f = (x - n * ln2_high) - n * ln2_low;
    vector sum = 1.0f / 5040 + f * (1.0f / 40320);
    sum = 1.0f / 720 + f * sum;
    sum = 1.0f / 120 + f * sum;
    sum = 1.0f / 24 + f * sum;
    sum = 1.0f / 6 + f * sum;
    sum = 0.5f + f * sum;
    sum = 1.0f + f * sum;
    sum = 1.0f + f * sum;
    /* The low bits of `shifted` are n; in the place of an exponent it makes 2^n. */
    return sum * (vector)(((integers)shifted << 23) + (127 << 23));
}

/* tanh(x) as 1 - 2 / (1 + e^(2x)); within 2 units in the last place of a saturated rate. */
INLINE vector hyperbolic_tangent(vector x)
{
    const vector most = (vector){0} + 9.5f; /* tanh(9.5) is 1 in single precision */
    integers above = x > most, below = x < -most;
    x = (vector)(((integers)most & above) | ((integers)-most & below) | ((integers)x & ~(above | below)));
    return 1.0f - 2.0f / (1.0f + exponential(x + x));
}

/* `when` where the mask is set, and `otherwise` where it is not. */
INLINE vector choose(integers mask, vector when, vector otherwise)
{
    return (vector)((mask & (integers)when) | (~mask & (integers)otherwise));
}

/* log(1 + e^x) as max(x, 0) + log(1 + t) with t = e^-|x|, and that as 2 artanh(t / (2 + t)) by its series. */
INLINE vector softplus(vector x)
{
    const vector zero = {0}, most = zero + 87.0f;
    vector size = choose(x < zero, -x, x);
    vector t = exponential(-choose(size > most, most, size));
    vector s = t / (2.0f + t), square = s * s;
    vector sum = 1.0f / 13 + square * (1.0f / 15);
    sum = 1.0f / 11 + square * sum;
    sum = 1.0f / 9 + square * sum;
    sum = 1.0f / 7 + square * sum;
    sum = 1.0f / 5 + square * sum;
    sum = 1.0f / 3 + square * sum;
    sum = 1.0f + square * sum;
    return choose(x < zero, zero, x) + 2.0f * s * sum;
}

/* The rates of states. */
INLINE vector rates_of(int nonlinearity, vector x)
{
    const vector zero = {0};
    switch (nonlinearity) {
    case RELU: return choose(x < zero, zero, x); /* and NaN stays so */
    case SOFTPLUS: return softplus(x);
    default: return hyperbolic_tangent(x);
    }
}

/* The derivatives of the rates in the states, from the rates. */
INLINE vector slopes_of(int nonlinearity, vector rates)
{
    const vector zero = {0}, most = zero + 87.0f;
    switch (nonlinearity) {
    case RELU: return choose(rates > zero, zero + 1.0f, zero);
    case SOFTPLUS: return 1.0f - exponential(-choose(rates > most, most, rates));
    default: return 1.0f - rates * rates;
    }
}

/* How many numbers of scratch, beginning at a multiple of 64 bytes, `forward` and `backward` need with so many inputs
 * and outputs. */
long scratch_size(long units, long others)
{
    return ROWS * (5 * (units + LANES) + units + others + 1);
}

long lanes(void) { return LANES; }

INLINE void advance(int columns, long first, const float *left, long left_row, long depth, const vector *weights,
                    const vector *bias, long vectors, const vector *noise, float keep, int nonlinearity,
                    vector *states, vector *rates)
{
    vector sums[ROWS][COLUMNS];
    EACH(r, ROWS) EACH(c, columns)
        sums[r][c] = keep * states[r * vectors + first + c] + noise[r * vectors + first + c] + bias[first + c];
    add_product(columns, left, left_row, 1, depth, weights + first, vectors, sums);
    EACH(r, ROWS) EACH(c, columns) {
        states[r * vectors + first + c] = sums[r][c];
        rates[r * vectors + first + c] = rates_of(nonlinearity, sums[r][c]);
    }
}

/* Fills `rates` from its second time on.
 *
 *   inputs   (time, trial, input)
 *   noise    (time, trial, unit), or NULL
 *   weights  (unit_from and input, unit), padded: alpha J^T above alpha W_in^T
 *   bias     (unit), padded: alpha b
 *   initial  (unit), padded: the state before the first step
 *   rates    (time and first, trial, unit); the first are those of `initial`
 */
INLINE void go_forward(int nonlinearity, long times, long trials, long units, long n_inputs, const float *inputs,
                       const float *noise, const float *weights, const float *bias, const float *initial, float keep,
                       float *scratch, float *rates)
{
    const long row = padded(units), vectors = row / LANES;
    const long left_row = units + n_inputs;
    /* Presynaptic rates with the inputs behind them; noise; states; new rates. */
    float *private_noise = scratch, *states = scratch + ROWS * row, *now = states + ROWS * row;
    float *left = now + ROWS * row;

    memset(private_noise, 0, 4 * ROWS * row);
    memset(left, 0, 4 * ROWS * left_row);
    for (long trial = 0; trial < trials; trial += ROWS) {
        int rows = trials - trial < ROWS ? trials - trial : ROWS;
        for (int r = 0; r < ROWS; r++) memcpy(states + r * row, initial, 4 * row);
        copy_rows(left, left_row, rates + trial * units, units, rows, units);
        for (long time = 0; time < times; time++) {
            long at = time * trials + trial;
            copy_rows(left + units, left_row, inputs + at * n_inputs, n_inputs, rows, n_inputs);
            if (noise) copy_rows(private_noise, row, noise + at * units, units, rows, units);
            FOR_BLOCKS(0, vectors, advance, left, left_row, left_row, (const vector *)weights, (const vector *)bias,
                       vectors, (const vector *)private_noise, keep, nonlinearity, (vector *)states, (vector *)now)
            copy_rows(left, left_row, now, row, rows, units);
            copy_rows(rates + (at + trials) * units, units, now, row, rows, units);
        }
    }
}

/* `go_forward` with the nonlinearity as a constant. */
void forward(long times, long trials, long units, long n_inputs, long nonlinearity, const float *inputs,
             const float *noise, const float *weights, const float *bias, const float *initial, float keep,
             float *scratch, float *rates)
{
    FOR_NONLINEARITY(nonlinearity, go_forward, times, trials, units, n_inputs, inputs, noise, weights, bias, initial,
                     keep, scratch, rates)
}

INLINE void carry_change(int columns, long first, const float *left, long left_row, long depth, const vector *weights,
                         long vectors, const vector *drive, const vector *rates, float keep, int nonlinearity,
                         vector *states, vector *now)
{
    vector sums[ROWS][COLUMNS];
    EACH(r, ROWS) EACH(c, columns) {
        long at = r * vectors + first + c;
        sums[r][c] = keep * states[at] + drive[at];
    }
    add_product(columns, left, left_row, 1, depth, weights + first, vectors, sums);
    EACH(r, ROWS) EACH(c, columns) {
        long at = r * vectors + first + c;
        states[at] = sums[r][c];
        now[at] = sums[r][c] * slopes_of(nonlinearity, rates[at]);
    }
}

/* Turns first-order changes of the drive into those of the rates, in place (tangent.py).
 *
 *   rates    (time and first, trial, unit), as `forward` left them
 *   weights  (unit_from, unit), padded: alpha J^T
 *   initial  (unit), padded: the change of the state before the first step
 *   changes  (time, trial, unit)
 */
INLINE void go_along(int nonlinearity, long times, long trials, long units, const float *rates, const float *weights,
                     const float *initial, float keep, float *scratch, float *changes)
{
    const long row = padded(units), vectors = row / LANES;
    float *drive = scratch, *slopes = drive + ROWS * row, *states = slopes + ROWS * row, *now = states + ROWS * row;
    /* Changes of the presynaptic rates. */
    float *left = now + ROWS * row;

    memset(scratch, 0, 4 * ROWS * 4 * row);
    memset(left, 0, 4 * ROWS * units);
    for (long trial = 0; trial < trials; trial += ROWS) {
        int rows = trials - trial < ROWS ? trials - trial : ROWS;
        for (int r = 0; r < ROWS; r++) memcpy(states + r * row, initial, 4 * row);
        copy_rows(slopes, row, rates + trial * units, units, rows, units);
        for (int r = 0; r < rows; r++)
            for (long v = 0; v < vectors; v++)
                ((vector *)(now + r * row))[v] = ((const vector *)initial)[v] *
                    slopes_of(nonlinearity, ((const vector *)(slopes + r * row))[v]);
        copy_rows(left, units, now, row, rows, units);
        for (long time = 0; time < times; time++) {
            long at = time * trials + trial;
            copy_rows(slopes, row, rates + (at + trials) * units, units, rows, units);
            copy_rows(drive, row, changes + at * units, units, rows, units);
            FOR_BLOCKS(0, vectors, carry_change, left, units, units, (const vector *)weights, vectors,
                       (const vector *)drive, (const vector *)slopes, keep, nonlinearity, (vector *)states,
                       (vector *)now)
            copy_rows(left, units, now, row, rows, units);
            copy_rows(changes + at * units, units, now, row, rows, units);
        }
    }
}

/* `go_along` with the nonlinearity as a constant. */
void tangent(long times, long trials, long units, long nonlinearity, const float *rates, const float *weights,
             const float *initial, float keep, float *scratch, float *changes)
{
    FOR_NONLINEARITY(nonlinearity, go_along, times, trials, units, rates, weights, initial, keep, scratch, changes)
}

/* sums += left^T right, for `count` columns of `left` and ROWS padded rows of `right`. */
INLINE void add_outer_products(long count, const float *left, long left_row, const vector *right, long vectors,
                               vector *sums)
{
    for (long v = 0; v < vectors; v++) {
        vector of_row[ROWS];
        EACH(r, ROWS) of_row[r] = right[r * vectors + v];
        for (long k = 0; k < count; k++) {
            vector sum = {0};
            EACH(r, ROWS) sum += left[r * left_row + k] * of_row[r];
            sums[k * vectors + v] += sum;
        }
    }
}

INLINE void go_back(int columns, long first, const float *left, long left_row, long depth, const vector *weights,
                    long vectors, const vector *grad_rates, const vector *rates, float keep, int nonlinearity,
                    const vector *following, vector *grad_states)
{
    vector sums[ROWS][COLUMNS];
    EACH(r, ROWS) EACH(c, columns) sums[r][c] = grad_rates[r * vectors + first + c];
    add_product(columns, left, left_row, 1, depth, weights + first, vectors, sums);
    EACH(r, ROWS) EACH(c, columns) {
        long at = r * vectors + first + c;
        grad_states[at] = keep * following[at] + sums[r][c] * slopes_of(nonlinearity, rates[at]);
    }
}

/* The gradient with respect to the states, from that with respect to the outputs and the rates; and, since all that
 * they need is at hand, those with respect to the small weights.
 *
 *   inputs              (time, trial, input)
 *   grad_outputs        (time, trial, output); without outputs, NULL
 *   grad_rates          (every n-th time from the first on, trial, unit), or NULL
 *   rates               (time and first, trial, unit), as `forward` left them
 *   weights             (unit and output, unit_from), padded: alpha J above W_out
 *   grad_states         (time, trial, unit)
 *   grad_drive          (input and 1, unit), padded: sums of grad_states times the inputs, and alone; at first zeros
 *   grad_readout        (output, unit), padded: sums of the rates times grad_outputs; at first zeros
 */
INLINE void go_backward(int nonlinearity, long times, long trials, long units, long n_inputs, long n_outputs,
                        long every, const float *inputs, const float *grad_outputs, const float *grad_rates,
                        const float *rates, const float *weights, float keep, float *scratch, float *grad_states,
                        float *grad_drive, float *grad_readout)
{
    const long row = padded(units), vectors = row / LANES;
    const long left_row = units + n_outputs, driving_row = n_inputs + 1;
    float *zeros = scratch, *sampled = zeros + ROWS * row, *slopes = sampled + ROWS * row;
    float *following = slopes + ROWS * row, *now = following + ROWS * row;
    /* Following gradients with those of the outputs behind them; inputs with a 1 behind them. */
    float *left = now + ROWS * row, *driving = left + ROWS * left_row;

    memset(scratch, 0, 4 * ROWS * 5 * row);
    for (long trial = 0; trial < trials; trial += ROWS) {
        int rows = trials - trial < ROWS ? trials - trial : ROWS;
        memset(following, 0, 4 * ROWS * row);
        /* The rows without a trial must add nothing to sums over trials. */
        memset(left, 0, 4 * ROWS * (left_row + driving_row));
        for (int r = 0; r < rows; r++) driving[r * driving_row + n_inputs] = 1.0f;
        for (long time = times - 1; time >= 0; time--) {
            long at = time * trials + trial;
            int is_sampled = grad_rates && time % every == 0;
            if (is_sampled)
                copy_rows(sampled, row, grad_rates + (time / every * trials + trial) * units, units, rows, units);
            copy_rows(slopes, row, rates + (at + trials) * units, units, rows, units);
            copy_rows(driving, driving_row, inputs + at * n_inputs, n_inputs, rows, n_inputs);
            if (grad_outputs) {
                copy_rows(left + units, left_row, grad_outputs + at * n_outputs, n_outputs, rows, n_outputs);
                add_outer_products(n_outputs, left + units, left_row, (const vector *)slopes, vectors,
                                   (vector *)grad_readout);
            }
            FOR_BLOCKS(0, vectors, go_back, left, left_row, left_row, (const vector *)weights, vectors,
                       (const vector *)(is_sampled ? sampled : zeros), (const vector *)slopes, keep,
                       nonlinearity, (const vector *)following, (vector *)now)
            add_outer_products(driving_row, driving, driving_row, (const vector *)now, vectors,
                               (vector *)grad_drive);
            copy_rows(left, left_row, now, row, rows, units);
            copy_rows(grad_states + at * units, units, now, row, rows, units);
            float *swap = following;
            following = now;
            now = swap;
        }
    }
}

/* `go_backward` with the nonlinearity as a constant. */
void backward(long times, long trials, long units, long n_inputs, long n_outputs, long every, long nonlinearity,
              const float *inputs, const float *grad_outputs, const float *grad_rates, const float *rates,
              const float *weights, float keep, float *scratch, float *grad_states, float *grad_drive,
              float *grad_readout)
{
    FOR_NONLINEARITY(nonlinearity, go_backward, times, trials, units, n_inputs, n_outputs, every, inputs, grad_outputs,
                     grad_rates, rates, weights, keep, scratch, grad_states, grad_drive, grad_readout)
}
/* Private noise from random bits: of each 16 the lower 15 choose one of 32,768 values. */
void look_up(long count, const uint16_t *bits, const float *values, float *noise)
{
    for (long i = 0; i < count; i++) noise[i] = values[bits[i] & 0x7FFF];
}

/* One call of the compiled code in a process of its own, for a processor that this one emulates (tests/emulated.py).
 *
 * Read: the number of the function, its sizes, its one other number, and its arrays, each behind its number of bytes
 * (-1: NULL). Written: what the function returns, or else all arrays. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "loops.c"
#include "penalty.c"

static int64_t length[13];
static void *array[13];

static void get(void *to, size_t bytes)
{
    if (fread(to, 1, bytes, stdin) != bytes) exit(1);
}

static void get_arrays(int count)
{
    for (int i = 0; i < count; i++) {
        get(&length[i], 8);
        if (length[i] < 0) continue;
        array[i] = aligned_alloc(64, (length[i] / 64 + 1) * 64);
        get(array[i], length[i]);
    }
}

static void put_arrays(int count)
{
    for (int i = 0; i < count; i++)
        if (length[i] > 0) fwrite(array[i], 1, length[i], stdout);
}

int main(void)
{
    int64_t function, n[7], answer;
    double number;
    get(&function, 8);
    get(n, sizeof n);
    get(&number, sizeof number);
    void **a = array;
    switch (function) {
    case 0:
        get_arrays(7);
        forward(n[0], n[1], n[2], n[3], n[4], a[0], a[1], a[2], a[3], a[4], number, a[5], a[6]);
        put_arrays(7);
        return 0;
    case 1:
        get_arrays(9);
        backward(n[0], n[1], n[2], n[3], n[4], n[5], n[6], a[0], a[1], a[2], a[3], a[4], number, a[5], a[6], a[7],
                 a[8]);
        put_arrays(9);
        return 0;
    case 2:
        get_arrays(3);
        look_up(n[0], a[0], a[1], a[2]);
        put_arrays(3);
        return 0;
    case 3:
        get_arrays(12);
        penalty_matrices(n[0], n[1], n[2], n[3], n[4], n[5], n[6], a[0], a[1], a[2], a[3], a[4], number, a[5], a[6],
                         a[7], a[8], a[9], a[10], a[11]);
        put_arrays(12);
        return 0;
    case 4:
        get_arrays(13);
        penalty_gradient(n[0], n[1], n[2], n[3], n[4], n[5], a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8],
                         a[9], number, a[10], a[11], a[12]);
        put_arrays(13);
        return 0;
    case 5:
        get_arrays(5);
        tangent(n[0], n[1], n[2], n[3], a[0], a[1], a[2], number, a[3], a[4]);
        put_arrays(5);
        return 0;
    default:
        answer = function == 6 ? scratch_size(n[0], n[1]) : function == 7 ? penalty_scratch_size(n[0], n[1], n[2]) : lanes();
        fwrite(&answer, 8, 1, stdout);
        return 0;
    }
}

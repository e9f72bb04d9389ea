// Small layers on one vector a board, in f32: the head of the values, biases from pooled or global numbers.
//
// dense:         y[r, o] = f(sum over i of x[r, i] * w[i, o] + bias[o]), f the ReLU if with_relu is not 0; bias may be null
// dense_back:    dx[r, i] = sum over o of dy[r, o] * w[i, o], added to what is there if add is not 0; then zero where
//                mask[r, i] is not above zero; mask may be null
// dense_weights: dw[i, o] = sum over r of x[r, i] * dy[r, o]; x may be null: ones
//
// x, dx, mask: [rows, inputs] f32; w, dw: [inputs, outputs] f32; bias: [outputs] f32; y, dy: [rows, outputs] f32.
//
// Work: a block has 128 threads, a thread one element of the result, of which the last block may have fewer; warps and lanes
// share nothing. The sums are in order, so results do not depend on the schedule.
#include "prims.cuh"

KERNEL(128) dense(const float* x, const float* w, const float* bias, float* y, int rows, int inputs, int outputs, int with_relu) {
    int at = block_x() * 128 + thread_id();
    if (at >= rows * outputs) return;
    int row = at / outputs, output = at % outputs;
    float sum = bias ? bias[output] : 0.0f;
    for (int i = 0; i < inputs; i++) sum += x[(size_t)row * inputs + i] * w[(size_t)i * outputs + output];
    y[at] = with_relu ? relu(sum) : sum;
}

KERNEL(128) dense_back(const float* dy, const float* w, const float* mask, float* dx, int rows, int inputs, int outputs, int add) {
    int at = block_x() * 128 + thread_id();
    if (at >= rows * inputs) return;
    int row = at / inputs, input = at % inputs;
    float sum = add ? dx[at] : 0.0f;
    for (int o = 0; o < outputs; o++) sum += dy[(size_t)row * outputs + o] * w[(size_t)input * outputs + o];
    dx[at] = mask && !(mask[at] > 0.0f) ? 0.0f : sum;
}

KERNEL(128) dense_weights(const float* x, const float* dy, float* dw, int rows, int inputs, int outputs) {
    int at = block_x() * 128 + thread_id();
    if (at >= inputs * outputs) return;
    int input = at / outputs, output = at % outputs;
    float sum = 0.0f;
    for (int row = 0; row < rows; row++)
        sum += (x ? x[(size_t)row * inputs + input] : 1.0f) * dy[(size_t)row * outputs + output];
    dw[at] = sum;
}

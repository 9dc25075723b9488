// Folds of rows and of columns. IN and OUT are the element types, FOLD one of folds.cuh.
typedef typename FOLD::value value_t;

// out[row] = fold of x[row, :]; `group` neighbouring lanes, a power of two up to 32, take a row.
extern "C" __global__ void __launch_bounds__(256, 1) fold_short_rows(
    OUT* __restrict__ out, const IN* __restrict__ x, index_t rows, index_t length, int group) {
    const index_t per_block = 256 / group;
    const int lane = threadIdx.x & (group - 1);
    for (index_t first = blockIdx.x * per_block; first < rows; first += gridDim.x * per_block) {
        const index_t row = first + threadIdx.x / group;
        value_t value = FOLD::none();
        if (row < rows)
            for (index_t i = lane; i < length; i += group)
                value = FOLD::of(value, (value_t)x[row * length + i]);
        value = fold_warp<FOLD>(value, group);
        if (row < rows && lane == 0) out[row] = (OUT)value;
    }
}

// out[row, piece] = fold of x[row, piece * chunk : (piece + 1) * chunk]; one block each.
extern "C" __global__ void __launch_bounds__(256, 1) fold_rows(
    OUT* __restrict__ out, const IN* __restrict__ x, index_t length, index_t chunk, index_t pieces) {
    constexpr int V = 16 / sizeof(IN);
    const index_t row = blockIdx.x / pieces;
    const index_t start = (blockIdx.x - row * pieces) * chunk;
    const index_t count = chunk < length - start ? chunk : length - start;
    const IN* from = x + row * length + start;
    value_t value = FOLD::none();
    const index_t packs = address(from) % 16 == 0 ? count / V : 0;
#pragma unroll 2
    for (index_t p = threadIdx.x; p < packs; p += 256) {
        const Pack<IN, V> pack = load<V>(from + p * V);
#pragma unroll
        for (int k = 0; k < V; k++) value = FOLD::of(value, (value_t)pack.at[k]);
    }
    for (index_t i = packs * V + threadIdx.x; i < count; i += 256)
        value = FOLD::of(value, (value_t)from[i]);
    value = fold_block<FOLD>(value);
    if (threadIdx.x == 0) out[blockIdx.x] = (OUT)value;
}

// out[l, piece, column] = fold of x[l, piece * chunk : (piece + 1) * chunk, column]. A block takes
// 2^width_bits columns; its other threads share out the rows.
extern "C" __global__ void __launch_bounds__(256, 1) fold_columns(
    OUT* __restrict__ out, const IN* __restrict__ x, index_t rows, index_t columns, index_t chunk,
    index_t pieces, index_t tiles, int width_bits) {
    __shared__ value_t parts[256];
    const int width = 1 << width_bits, row_step = 256 >> width_bits;
    const int lane = threadIdx.x >> width_bits;
    const index_t strip = blockIdx.x / tiles;
    const index_t l = strip / pieces;
    const index_t column =
        (blockIdx.x - strip * tiles) * width + (threadIdx.x & (unsigned)(width - 1));
    const index_t start = (strip - l * pieces) * chunk;
    const index_t end = chunk < rows - start ? start + chunk : rows;
    value_t value = FOLD::none();
    if (column < columns) {
        const IN* from = x + l * rows * columns + column;
#pragma unroll 4
        for (index_t a = start + lane; a < end; a += row_step)
            value = FOLD::of(value, (value_t)from[a * columns]);
    }
    parts[threadIdx.x] = value;
    for (int half = row_step / 2; half > 0; half /= 2) {
        __syncthreads();
        if (lane < half)
            parts[threadIdx.x] = FOLD::of(parts[threadIdx.x], parts[threadIdx.x + half * width]);
    }
    if (lane == 0 && column < columns) out[strip * columns + column] = (OUT)parts[threadIdx.x];
}

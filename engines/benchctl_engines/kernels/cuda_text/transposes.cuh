// out[a, n, m] = x[a, m, n] by tiles of 32 x 32 that pass through shared memory, so that both
// sides are read and written along their rows. WORD is an unsigned type of the element's size.
extern "C" __global__ void __launch_bounds__(256, 1) transpose_matrices(
    WORD* __restrict__ out, const WORD* __restrict__ x, index_t M, index_t N, index_t tiles_m,
    index_t tiles_n) {
    __shared__ WORD tile[32][33];  // one more column: no two rows start in the same bank
    const index_t strip = blockIdx.x / tiles_n;
    const index_t a = strip / tiles_m;
    const index_t m0 = (strip - a * tiles_m) * 32, n0 = (blockIdx.x - strip * tiles_n) * 32;
    const int column = threadIdx.x % 32, row = threadIdx.x / 32;
    const WORD* from = x + a * M * N;
    WORD* to = out + a * M * N;
    for (int k = row; k < 32; k += 8)
        if (m0 + k < M && n0 + column < N) tile[k][column] = from[(m0 + k) * N + n0 + column];
    __syncthreads();
    for (int k = row; k < 32; k += 8)
        if (n0 + k < N && m0 + column < M) to[(n0 + k) * M + m0 + column] = tile[column][k];
}

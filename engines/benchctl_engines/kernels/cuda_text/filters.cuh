// Filters stored in another order: three axes, the innermost of either side read and written in
// rows of 32. in[z*in_z + b*in_b + a] becomes out[z*out_z + a*out_a + b].

extern "C" __global__ void __launch_bounds__(256, 4) reorder_filters(
    real *__restrict__ out, const real *__restrict__ in, int A, int B, int Z,
    index_t in_b, index_t in_z, index_t out_a, index_t out_z)
{
    // One column more, so that a column of the tile does not fall on one bank.
    __shared__ real tile[32][33];
    int a = blockIdx.x * 32, b = blockIdx.y * 32;
    for (int z = blockIdx.z; z < Z; z += gridDim.z) {
#pragma unroll 1
        for (int row = threadIdx.y; row < 32; row += 8)
            if (b + row < B && a + (int)threadIdx.x < A)
                tile[row][threadIdx.x] = in[z * in_z + (b + row) * in_b + a + threadIdx.x];
        __syncthreads();
#pragma unroll 1
        for (int row = threadIdx.y; row < 32; row += 8)
            if (a + row < A && b + (int)threadIdx.x < B)
                out[z * out_z + (a + row) * out_a + b + threadIdx.x] = tile[threadIdx.x][row];
        __syncthreads();
    }
}

// Work that takes time and touches no memory: it holds a stream until a step has been issued.

extern "C" __global__ void benchctl_spin(long long nanoseconds)
{
#ifdef __CUDACC_RTC__
    unsigned long long start, now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(start));
    do {
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    } while ((long long)(now - start) < nanoseconds);
#endif
    // Elsewhere there is no such timer, and what a launch takes is the caller's to say.
}

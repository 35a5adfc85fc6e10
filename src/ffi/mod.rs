//! Small safe wrappers of CPU and libc facilities that packet processing needs: prefetch, time-stamp counter, CPU pinning.

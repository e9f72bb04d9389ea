// Every kernel: what is compiled, as one module for each architecture, and computes what the files below say.
//
// Shapes: each file opens with what its kernels take, types and lengths included; arrays are row-major, sizes are int, and
// the launches of src/device check every length.
//
// Work: likewise. Blocks never wait for each other, nor need to run in any order; what one launch leaves the next one reads.
#include "expand.cu"
#include "conv.cu"
#include "tower.cu"
#include "pool.cu"
#include "dense.cu"
#include "policy.cu"
#include "train.cu"
#include "legal.cu"
#include "playout.cu"
#include "probe.cu"
#include "wave.cu"

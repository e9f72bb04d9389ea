// Every kernel: what is compiled, as one module for each architecture.
#include "expand.cu"
#include "conv.cu"
#include "tower.cu"
#include "pool.cu"
#include "dense.cu"
#include "policy.cu"
#include "train.cu"

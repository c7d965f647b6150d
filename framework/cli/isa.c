/* isa.c — the paths of kernels that --isa names. */
#include "cli.h"

const char *const sm_cli_isas[] = {"recipe",   "native",             "avx512_bf16",   "avx512",      "avx2", "neon",
                                   "baseline", "avx512_bf16_onednn", "avx512_onednn", "avx2_onednn", NULL};

const char *sm_cli_isa(const sm_cli *cli) { return cli->isa ? sm_cli_isas[cli->isa] : NULL; }

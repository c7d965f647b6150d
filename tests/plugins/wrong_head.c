/* wrong_head.c — bn_head, which does not say that it looks at the whole step. */
#define smalti_module module_of_the_right_one
#define sm_abi_note_ note_of_the_right_one
#include "bn_head.c"
#undef smalti_module
#undef sm_abi_note_

static const sm_head_ops forgetful = {.affine = true,
                                      .out_dim = bn_out_dim,
                                      .declare = bn_declare,
                                      .features = bn_features,
                                      .logits = bn_logits,
                                      .declare_state = bn_declare_state,
                                      .build_update = bn_build_update};
static const sm_plugin wrong = {.kind = SM_HEAD,
                                .name = "forgets_whole_step",
                                .summary = "Batch norm as if each row were alone",
                                .version = "1",
                                .license = "Apache-2.0",
                                .options = options,
                                .n_options = sizeof options / sizeof *options,
                                .instance_size = sizeof(bn_head),
                                .ops = &forgetful};
SM_MODULE(&wrong)

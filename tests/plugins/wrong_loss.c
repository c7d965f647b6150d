/* wrong_loss.c — koleo, which does not say that it looks at the whole step. */
#define smalti_module module_of_the_right_one
#define sm_abi_note_ note_of_the_right_one
#include "../../plugins/losses/koleo.c"
#undef smalti_module
#undef sm_abi_note_

static sm_status forgets(const void *self, sm_loss_spec *out, sm_error *err) {
  sm_status status = koleo_spec(self, out, err);
  out->whole_step = false;
  return status;
}

static const sm_loss_ops forgetful = {.spec = forgets, .pairs = koleo_pairs, .build = koleo_build};
static const sm_plugin wrong = {.kind = SM_LOSS,
                                .name = "forgets_whole_step",
                                .summary = "Spreads features as if each picture were alone",
                                .version = "1",
                                .license = "Apache-2.0",
                                .options = options,
                                .n_options = sizeof options / sizeof *options,
                                .instance_size = sizeof(koleo),
                                .ops = &forgetful};
SM_MODULE(&wrong)

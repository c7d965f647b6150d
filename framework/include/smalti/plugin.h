/* smalti/plugin.h — all that a plugin may need: one header per kind, and the ops. A plugin of one kind may
 * include just that kind's header. */
#ifndef SMALTI_PLUGIN_H
#define SMALTI_PLUGIN_H

#include <smalti/backbone.h>
#include <smalti/dataset.h>
#include <smalti/evaluation.h>
#include <smalti/head.h>
#include <smalti/loss.h>
#include <smalti/masker.h>
#include <smalti/objective.h>
#include <smalti/op.h>
#include <smalti/tokenizer.h>

#endif

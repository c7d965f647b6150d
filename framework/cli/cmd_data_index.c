/* cmd_data_index.c — `smalti data index`: writes the list of a folder's pictures beside it, or holds the
 * one that is there against the folder, file by file. */
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "framework/data/data.h"
#include "framework/data/listing.h"
#include "framework/formats/formats.h"

#include "cli.h"

struct index_options {
  bool check;
};

static const sm_option options[] = {
    SM_BOOL(struct index_options, check, "check", "false",
            "write nothing; list the folder anew and compare names and sizes with the index that is there"),
};

static double cmd_data_index_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Tar shards, too. */
static sm_listing *cmd_data_index_look(const char *path, sm_error *err) {
  const char *dataset = sm_dataset_for(path, err);
  if (!dataset) return NULL;
  return !strcmp(dataset, "tar") ? sm_listing_tar(path, err) : sm_listing_folder(path, err);
}

/* A folder that changes again within the tick of its time stamp would look unchanged: listed so soon after
 * a change, it is listed once more when that tick has passed. */
static sm_listing *cmd_data_index_list(const char *path, sm_error *err) {
  const double begin = cmd_data_index_clock();
  sm_listing *l = cmd_data_index_look(path, err);
  double tick = 0;
  if (!l || !sm_listing_newer(l, begin, &tick)) return l;
  sm_listing_free(l);
  sm_sleep(tick);
  return cmd_data_index_look(path, err);
}

static sm_status cmd_data_index_print(sm_cli *cli, const sm_listing *l, const char *file, sm_error *err) {
  struct stat st;
  if (stat(file, &st)) st.st_size = 0;
  if (!cli->json) {
    char bytes[32];
    const long long shards = sm_listing_shards(l), in = shards ? shards : sm_listing_folders(l);
    printf("%s: %lld %s in %lld %s, %s\n", file, (long long)sm_listing_found(l),
           sm_plural(sm_listing_found(l), "picture", "pictures"), in,
           shards ? sm_plural(in, "shard", "shards") : sm_plural(in, "folder", "folders"),
           sm_human_bytes((double)st.st_size, bytes, sizeof bytes));
    return SM_OK;
  }
  sm_json json = {0};
  sm_json_begin(&json);
  sm_json_string(&json, "file", file);
  sm_json_int(&json, "pictures", sm_listing_found(l));
  sm_json_int(&json, "folders", sm_listing_folders(l));
  sm_json_int(&json, "shards", sm_listing_shards(l));
  sm_json_int(&json, "bytes", (int64_t)st.st_size);
  const char *line = sm_json_finish(&json);
  if (line) puts(line);
  const sm_status status = line ? SM_OK : sm_fail(err, SM_ENOMEM, "out of memory");
  sm_json_free(&json);
  return status;
}

static sm_status cmd_data_index_write(sm_cli *cli, const char *path, const char *file, sm_error *err) {
  sm_listing *l = cmd_data_index_list(path, err);
  if (!l) return err->code;
  sm_status status = SM_OK;
  if (sm_listing_found(l) == 0) {
    status = sm_fail(err, SM_ENOTFOUND, "no picture in %s", path);
    sm_hint(err, "files named %s count, in upper or lower case; hidden ones do not", sm_listing_endings());
  }
  if (!status && sm_listing_check(l, NULL)) {
    status = sm_fail(err, SM_EIO, "%s changed while it was listed: nothing was written", path);
    sm_hint(err, "run the command again when nobody writes there");
  }
  if (!status) status = sm_listing_save(l, file, err);
  if (!status) sm_listing_tell(l);
  if (!status) status = cmd_data_index_print(cli, l, file, err);
  sm_listing_free(l);
  return status;
}

static sm_status cmd_data_index_compare(sm_cli *cli, const char *path, const char *file, bool *same,
                                        sm_error *err) {
  sm_listing *old = sm_listing_open(path, file, err);
  sm_listing *now = old ? cmd_data_index_look(path, err) : NULL;
  sm_status status = now ? SM_OK : err->code;
  sm_text where = {0};
  *same = now && sm_listing_equal(old, now, &where);
  if (now && *same) status = cmd_data_index_print(cli, old, file, err);
  else if (now) printf("%s: the pictures in %s are others, or of other sizes\n", file, where.s ? where.s : path);
  sm_text_free(&where);
  sm_listing_free(now);
  sm_listing_free(old);
  return status;
}

static int cmd_data_index_run(sm_cli *cli, int argc, char **argv) {
  const struct index_options *o = cli->options;
  bool same = true;
  sm_error err = {0};
  (void)argc;
  const char *file = sm_listing_file(cli->arena, argv[1]);
  sm_status status = file ? SM_OK : sm_fail(&err, SM_ENOMEM, "out of memory");
  if (!status && o->check) status = cmd_data_index_compare(cli, argv[1], file, &same, &err);
  else if (!status) status = cmd_data_index_write(cli, argv[1], file, &err);
  if (status) return sm_cli_fail(&err);
  return same ? SM_EXIT_OK : SM_EXIT_NO;
}

const sm_command sm_command_data_index = {
    .name = "data index",
    .usage = "FOLDER|SHARD.tar",
    .summary = "write the list of a folder's pictures beside it, so that it opens at once",
    .about =
        "Lists the pictures below FOLDER, or in the tar shards in it, once and writes names, sizes and places to FOLDER.smalti-index, which the datasets `folder` and `tar` then take instead of looking at every file: on this machine and on any other that sees both. "
        "A folder in which files have come, gone or been renamed since, or a shard that was changed, makes the index out of date, and everything that opens it says so; run the command again. "
        "A picture that was overwritten under its own name is seen by --check only. Where nothing can be written beside the folder, make a link to it elsewhere and index that. "
        "Ends with 1 if --check finds a difference.",
    .min_args = 1,
    .max_args = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct index_options),
    .run = cmd_data_index_run,
};

/* A plugin of qemu-user 7 and 8: counts the guest's instructions, of all its threads, and writes the sum at the end.
 *
 * Whole translation blocks are counted as they begin, so that a block that a fault ends is counted whole: a few in a
 * billion. Debian ships no qemu-plugin.h; what is declared here is version 1 of qemu's plugin interface.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
enum { ADD_U64 = 0 };

extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int operation, void *, uint64_t);
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);

int qemu_plugin_version = 1;
static uint64_t instructions;
static char out[4096];

static void translated(plugin_id id, struct qemu_plugin_tb *block)
{
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &instructions, qemu_plugin_tb_n_insns(block));
}

static void ended(plugin_id id, void *unused)
{
    FILE *file = fopen(out, "w");
    if (!file)
        return;
    fprintf(file, "%" PRIu64 "\n", instructions);
    fclose(file);
}

int qemu_plugin_install(plugin_id id, const void *info, int count, char **words)
{
    if (count != 1 || strncmp(words[0], "out=", 4) || strlen(words[0]) - 4 >= sizeof out) {
        fputs("expected one argument: out=FILE\n", stderr);
        return -1;
    }
    strcpy(out, words[0] + 4);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}

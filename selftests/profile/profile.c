// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin of QEMU's that counts how often each block of a guest's code is executed,
 * between the marks that a program of the guest makes: instructions that do nothing else
 * (nopl with these displacements). At the end it writes a line for each block: its address,
 * its instructions, and how often it was executed.
 *
 * Debian has no package of QEMU's header for plugins; what is used of it stands here, as
 * docs/devel/tcg-plugins.rst of QEMU has it.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { QEMU_PLUGIN_CB_NO_REGS };

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t at);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *to, size_t len);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
		void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
		void (*cb)(unsigned int, void *), int flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
		void (*cb)(unsigned int, void *), int flags, void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id,
		void (*cb)(qemu_plugin_id_t, void *), void *data);

/* The oldest interface that has all of these. */
__attribute__((visibility("default"))) int qemu_plugin_version = 2;

/* nopl 0x5056524d(%rax,%rax) and nopl 0x5156524d(%rax,%rax) */
static const uint8_t begins[] = { 0x0f, 0x1f, 0x84, 0x00, 0x4d, 0x52, 0x56, 0x50 };
static const uint8_t ends[] = { 0x0f, 0x1f, 0x84, 0x00, 0x4d, 0x52, 0x56, 0x51 };

struct block {
	uint64_t address;
	uint64_t count;
	size_t insns;
	struct block *next;
};

static struct block *blocks;
static bool counting;
static const char *path = "profile";

static void executed(unsigned int cpu, void *data)
{
	struct block *block = data;

	block->count += counting;
}

static void begin(unsigned int cpu, void *data)
{
	counting = true;
}

static void end(unsigned int cpu, void *data)
{
	counting = false;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	struct block *block = calloc(1, sizeof(*block));

	if (!block)
		abort();
	block->address = qemu_plugin_tb_vaddr(tb);
	block->insns = qemu_plugin_tb_n_insns(tb);
	block->next = blocks;
	blocks = block;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, QEMU_PLUGIN_CB_NO_REGS, block);
	for (size_t at = 0; at < block->insns; at++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, at);
		uint8_t bytes[sizeof(begins)];

		if (qemu_plugin_insn_data(insn, bytes, sizeof(bytes)) != sizeof(bytes))
			continue;
		if (!memcmp(bytes, begins, sizeof(bytes)))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, 0, NULL);
		else if (!memcmp(bytes, ends, sizeof(bytes)))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, end, 0, NULL);
	}
}

static void finish(qemu_plugin_id_t id, void *data)
{
	FILE *file = fopen(path, "w");

	if (!file)
		return;
	for (struct block *block = blocks; block; block = block->next)
		if (block->count)
			fprintf(file, "%llx %zu %llu\n", (unsigned long long)block->address,
				block->insns, (unsigned long long)block->count);
	fclose(file);
}

__attribute__((visibility("default")))
int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	for (int at = 0; at < argc; at++)
		if (!strncmp(argv[at], "out=", 4))
			path = strdup(argv[at] + 4);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, finish, NULL);
	return 0;
}

// SPDX-License-Identifier: GPL-2.0

#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include "helpers.h"

/* The longest line that can be written, with what ends it. */
#define LINE 64

static int rvdpa_debugfs_show(struct seq_file *seq, void *unused)
{
	const struct rvdpa_debugfs_file *file = seq->private;

	file->show(file, seq);
	return 0;
}

static int rvdpa_debugfs_open(struct inode *inode, struct file *filp)
{
	return single_open(filp, rvdpa_debugfs_show, inode->i_private);
}

static ssize_t rvdpa_debugfs_write(struct file *filp, const char __user *buf,
				   size_t len, loff_t *ppos)
{
	const struct rvdpa_debugfs_file *file = file_inode(filp)->i_private;
	char line[LINE];
	int err;

	if (len > sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, buf, len))
		return -EFAULT;
	err = file->store(file, line, len);
	return err ?: len;
}

/*
 * debugfs calls ->release of a file after the file was removed, too, and gives back
 * the owner afterwards (full_proxy_release()). So without an owner, closing a file that
 * was held open across rmmod would read these structures when they are gone, and run
 * code that is. With it, whoever has a file open is a user of the module.
 */
static const struct file_operations rvdpa_debugfs_ro = {
	.owner = THIS_MODULE,
	.open = rvdpa_debugfs_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = single_release,
};

static const struct file_operations rvdpa_debugfs_rw = {
	.owner = THIS_MODULE,
	.open = rvdpa_debugfs_open,
	.read = seq_read,
	.write = rvdpa_debugfs_write,
	.llseek = seq_lseek,
	.release = single_release,
};

/* A new directory, at the top without @parent; NULL if there cannot be one. */
struct dentry *rvdpa_debugfs_dir(const char *name, struct dentry *parent)
{
	struct dentry *dentry;

	/* debugfs would complain in the log. */
	dentry = parent ? debugfs_lookup(name, parent) : NULL;
	if (!IS_ERR_OR_NULL(dentry)) {
		dput(dentry);
		return NULL;
	}
	dentry = debugfs_create_dir(name, parent);
	return IS_ERR(dentry) ? NULL : dentry;
}

/*
 * A new file, which refers to @file until it is removed; NULL if there cannot be one.
 */
struct dentry *rvdpa_debugfs_create(const char *name, struct dentry *parent,
				    const struct rvdpa_debugfs_file *file)
{
	struct dentry *dentry;

	if (file->store)
		dentry = debugfs_create_file(name, 0600, parent, (void *)file,
					     &rvdpa_debugfs_rw);
	else
		dentry = debugfs_create_file(name, 0400, parent, (void *)file,
					     &rvdpa_debugfs_ro);
	return IS_ERR(dentry) ? NULL : dentry;
}

/*
 * Removes a file, or a directory with all that is in it, and waits for what is being
 * read and written. What is open only is not waited for. May sleep.
 */
void rvdpa_debugfs_remove(struct dentry *dentry)
{
	debugfs_remove(dentry);
}

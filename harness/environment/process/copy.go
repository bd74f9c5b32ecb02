package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// copyTree copies what is in src into dst, which is made if it is absent. Files that are there already are replaced.
// On file systems that can share blocks it shares them, else the kernel copies. skip, which may be nil, sees paths
// relative to src; a folder that it skips is left out with all in it. owner may be nil.
func copyTree(ctx context.Context, src, dst string, owner *syscall.Credential, skip func(path string, d fs.DirEntry) bool) error {
	clone := true // until the file system refuses
	err := filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		if rel != "." && skip != nil && skip(rel, d) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		to := filepath.Join(dst, rel)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			err = os.Mkdir(to, info.Mode().Perm())
			if errors.Is(err, fs.ErrExist) {
				err = nil
			}
		case info.Mode().IsRegular():
			err = copyFile(path, to, info, &clone)
		case info.Mode()&fs.ModeSymlink != 0:
			var target string
			if target, err = os.Readlink(path); err == nil {
				if err = os.Remove(to); errors.Is(err, fs.ErrNotExist) {
					err = nil
				}
				err = errors.Join(err, os.Symlink(target, to))
			}
		default: // sockets and pipes are of no use in a copy
			return nil
		}
		if err == nil && owner != nil {
			err = os.Lchown(to, int(owner.Uid), int(owner.Gid))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("copy %s to %s: %w", src, dst, err)
	}
	return nil
}

func copyFile(src, dst string, info fs.FileInfo, clone *bool) (err error) {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	// Removed first: a program that runs cannot be overwritten, and a link must not be followed.
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if errors.Is(err, fs.ErrExist) {
		if err = os.Remove(dst); err == nil {
			out, err = os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
		}
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if info.Size() == 0 {
		return nil
	}
	if *clone {
		if err := unix.IoctlFileClone(int(out.Fd()), int(in.Fd())); err == nil {
			return nil
		}
		*clone = false
	}
	_, err = io.Copy(out, in) // copy_file_range
	return err
}

// removeTree is os.RemoveAll which also enters folders that their owner may not write.
func removeTree(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

package artefact

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// How an entry of a tree is Copied.
type How int

const (
	Copied How = iota
	Skipped
	Linked // as one more name of the same file, where that can be: for files that nobody writes to
)

// Tree is a folder to be Copied.
type Tree struct {
	From, To string                               // to is made if it is absent; files that are there already are replaced
	Owner    *syscall.Credential                  // of the copy; nil: ourselves
	How      func(path string, d fs.DirEntry) How // sees paths relative to from; a folder that is Skipped is left out with all in it; may be nil
}

// Copy copies the tree. File systems that can share blocks share them; holes stay holes.
func (t Tree) Copy(ctx context.Context) error {
	c := copier{Tree: t, clone: true}
	err := filepath.WalkDir(t.From, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return c.entry(path, d)
	})
	if err != nil {
		return fmt.Errorf("copy %s to %s: %w", t.From, t.To, err)
	}
	return nil
}

type copier struct {
	Tree
	clone  bool // until the file system refuses
	buffer []byte
}

func (c *copier) entry(path string, d fs.DirEntry) error {
	rel, err := filepath.Rel(c.From, path)
	if err != nil {
		return err
	}
	mode := Copied
	if rel != "." && c.How != nil {
		mode = c.How(rel, d)
	}
	to := filepath.Join(c.To, rel)
	switch {
	case mode == Skipped && d.IsDir():
		return filepath.SkipDir
	case mode == Skipped:
		return nil
	case d.IsDir():
		info, err := d.Info()
		if err != nil {
			return err
		}
		if err := os.Mkdir(to, info.Mode().Perm()); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return c.own(to)
	case d.Type()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Symlink(target, to); err != nil {
			return err
		}
		return c.own(to)
	case d.Type().IsRegular():
		if mode == Linked && os.Link(path, to) == nil { // another file system, or protected links: it is Copied
			return nil
		}
		if err := c.file(path, to); err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
	}
	return nil // sockets and pipes are of no use in a copy
}

func (c *copier) own(path string) error {
	if c.Owner == nil {
		return nil
	}
	return os.Lchown(path, int(c.Owner.Uid), int(c.Owner.Gid))
}

// file copies one file by bare system calls: a cluster has thousands of files, and most are small.
func (c *copier) file(from, to string) (err error) {
	in, err := unix.Open(from, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(in)
	var st unix.Stat_t
	if err := unix.Fstat(in, &st); err != nil {
		return err
	}
	const flags = unix.O_CREAT | unix.O_EXCL | unix.O_WRONLY | unix.O_CLOEXEC
	out, err := unix.Open(to, flags, st.Mode&0o777)
	if errors.Is(err, unix.EEXIST) { // not written over: a program that runs cannot be, and a link must not be followed
		if err = os.Remove(to); err == nil {
			out, err = unix.Open(to, flags, st.Mode&0o777)
		}
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(out)) }()
	if c.Owner != nil {
		if err := unix.Fchown(out, int(c.Owner.Uid), int(c.Owner.Gid)); err != nil {
			return err
		}
	}
	if st.Size == 0 {
		return nil
	}
	if c.clone {
		if unix.IoctlFileClone(out, in) == nil {
			return nil
		}
		c.clone = false
	}
	if st.Blocks*512 < st.Size-64<<10 { // it has holes worth keeping
		return c.sparse(in, out, st.Size)
	}
	return c.contents(in, out, 0, st.Size)
}

func (c *copier) contents(in, out int, from, to int64) error {
	if to-from > 256<<10 {
		for from < to {
			read, write := from, from
			n, err := unix.CopyFileRange(in, &read, out, &write, int(min(to-from, 1<<30)), 0)
			if err != nil || n <= 0 {
				break // the file system cannot: read and write
			}
			from += int64(n)
		}
	}
	if c.buffer == nil {
		c.buffer = make([]byte, 256<<10)
	}
	for from < to {
		n, err := unix.Pread(in, c.buffer[:min(to-from, int64(len(c.buffer)))], from)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return errors.New("it became shorter while it was Copied")
		}
		for done := 0; done < n; {
			w, err := unix.Pwrite(out, c.buffer[done:n], from+int64(done))
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return err
			}
			done += w
		}
		from += int64(n)
	}
	return nil
}

func (c *copier) sparse(in, out int, size int64) error {
	if err := unix.Ftruncate(out, size); err != nil {
		return err
	}
	for at := int64(0); at < size; {
		from, err := unix.Seek(in, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // nothing but a hole
		}
		if err != nil {
			return err
		}
		to, err := unix.Seek(in, from, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if err := c.contents(in, out, from, to); err != nil {
			return err
		}
		at = to
	}
	return nil
}

// CopyTree copies all that is in from.
func CopyTree(ctx context.Context, from, to string, owner *syscall.Credential) error {
	return Tree{From: from, To: to, Owner: owner}.Copy(ctx)
}

// RemoveTree is os.RemoveAll which also enters folders that their owner may not write.
func RemoveTree(dir string) error {
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

// PunchTail makes a hole of the zeros at the end of a file. What is read from it stays the same.
func PunchTail(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	const page = 8 << 10
	buf := make([]byte, page)
	end := info.Size()
	for end >= page {
		if _, err := f.ReadAt(buf, end-page); err != nil {
			return err
		}
		if !allZero(buf) {
			break
		}
		end -= page
	}
	if end == info.Size() {
		return nil
	}
	return errors.Join(f.Truncate(end), f.Truncate(info.Size()))
}

func allZero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}

// Spread tells ext4 that the folders in dir have nothing to do with each other (chattr +T), so that it gives each its
// own part of the disk, chosen by the folder's name. Otherwise a drill's thousands of files are made where the last drill's have just been removed,
// and an ext4 without a journal looks at each of those first, for minutes, at every new file. Elsewhere it does nothing.
func Spread(dir string) {
	const topdir = 0x00020000 // FS_TOPDIR_FL, include/uapi/linux/fs.h
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS); err == nil {
		_ = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags|topdir)
	}
}

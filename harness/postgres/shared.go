package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// postmaster is what postmaster.pid says. Format: src/include/utils/pidfile.h.
type postmaster struct {
	pid    int
	listen string // empty until it listens
	key    int    // of the System V segment
	shmid  int
}

func readPostmaster(dir string) (postmaster, error) {
	text, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		return postmaster{}, err
	}
	lines := strings.Split(string(text), "\n")
	p := postmaster{}
	if p.pid, err = strconv.Atoi(strings.TrimSpace(lines[0])); err != nil {
		return p, fmt.Errorf("%s/postmaster.pid:1: a process number was expected, found %q", dir, lines[0])
	}
	if len(lines) > 5 {
		p.listen = strings.TrimSpace(lines[5])
	}
	if len(lines) > 6 {
		if f := strings.Fields(lines[6]); len(f) == 2 {
			p.key, _ = strconv.Atoi(f[0])
			p.shmid, _ = strconv.Atoi(f[1])
		}
	}
	return p, nil
}

// RemoveShared removes what a killed postmaster has left in shared memory: the System V segment that postmaster.pid
// names and the /dev/shm files that are listed in it. It does nothing after an orderly end (postmaster.pid is gone
// then), for a segment that another cluster has made, and while somebody is attached.
//
// Sources of the formats: struct PGShmemHeader in src/include/storage/pg_shmem.h, struct dsm_control_header in
// src/backend/storage/ipc/dsm.c.
func RemoveShared(dir string) error {
	p, err := readPostmaster(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove shared memory: %w", err)
	}
	if p.shmid == 0 && p.key == 0 {
		return nil
	}
	var d unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(p.shmid, unix.IPC_STAT, &d); err != nil {
		if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EIDRM) {
			return nil // gone
		}
		return fmt.Errorf("remove shared memory: segment %d of %s: %w", p.shmid, dir, err)
	}
	if int(uint32(d.Perm.Key)) != int(uint32(p.key)) {
		return nil // the number belongs to another segment by now
	}
	mem, err := unix.SysvShmAttach(p.shmid, 0, unix.SHM_RDONLY)
	if err != nil {
		return fmt.Errorf("remove shared memory: segment %d of %s: %w", p.shmid, dir, err)
	}
	const magic = 679834894
	ours := len(mem) >= 28 && binary.NativeEndian.Uint32(mem) == magic && int(binary.NativeEndian.Uint32(mem[4:])) == p.pid
	control := uint32(0)
	if ours {
		control = binary.NativeEndian.Uint32(mem[24:])
	}
	if err := unix.SysvShmDetach(mem); err != nil {
		return fmt.Errorf("remove shared memory: segment %d of %s: %w", p.shmid, dir, err)
	}
	if !ours {
		return nil
	}
	err = removeDynamic(control)
	// Removed at once when nobody is attached, otherwise when the last backend, which notices its postmaster's end, leaves.
	if _, e := unix.SysvShmCtl(p.shmid, unix.IPC_RMID, nil); e != nil && !errors.Is(e, syscall.EINVAL) && !errors.Is(e, syscall.EIDRM) {
		err = errors.Join(err, fmt.Errorf("remove shared memory: segment %d of %s: %w", p.shmid, dir, e))
	}
	return err
}

// removeDynamic removes the /dev/shm files that a control segment lists, then the control segment.
func removeDynamic(control uint32) error {
	name := func(handle uint32) string { return fmt.Sprintf("/dev/shm/PostgreSQL.%d", handle) }
	data, err := os.ReadFile(name(control))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) { // gone, or another kind of dynamic shared memory
			return nil
		}
		return fmt.Errorf("remove shared memory: %w", err)
	}
	const magic, header = 0x9a503d32, 16
	if len(data) < header || binary.NativeEndian.Uint32(data) != magic {
		return nil
	}
	items, room := int(binary.NativeEndian.Uint32(data[4:])), int(binary.NativeEndian.Uint32(data[8:]))
	var errs []error
	if room > 0 && items <= room {
		size := (len(data) - header) / room // differs between versions
		for i := range items {
			item := data[header+i*size:]
			handle, used := binary.NativeEndian.Uint32(item), binary.NativeEndian.Uint32(item[4:])
			if used != 0 {
				errs = append(errs, os.Remove(name(handle)))
			}
		}
	}
	errs = append(errs, os.Remove(name(control)))
	for i, err := range errs {
		if errors.Is(err, fs.ErrNotExist) {
			errs[i] = nil
		}
	}
	return errors.Join(errs...)
}

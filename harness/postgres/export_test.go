package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// SharedOf is the System V segment of a killed postmaster and its control file in /dev/shm.
func SharedOf(dir string) (shmid, control string) {
	p, err := readPostmaster(dir)
	if err != nil {
		return "", ""
	}
	mem, err := unix.SysvShmAttach(p.shmid, 0, unix.SHM_RDONLY)
	if err != nil {
		return "", ""
	}
	defer unix.SysvShmDetach(mem)
	return strconv.Itoa(p.shmid), fmt.Sprintf("/dev/shm/PostgreSQL.%d", binary.NativeEndian.Uint32(mem[24:]))
}

// SegmentThere tells whether a System V segment exists.
func SegmentThere(shmid string) bool {
	id, _ := strconv.Atoi(shmid)
	var d unix.SysvShmDesc
	_, err := unix.SysvShmCtl(id, unix.IPC_STAT, &d)
	return err == nil
}

// ReadWithin is ReadSchema inside of a transaction that is open already.
func ReadWithin(ctx context.Context, c Conn) (Schema, error) { return readWithin(ctx, c) }

// FingerprintSQL is the statement that takes the fingerprint of a table, and Session a connection as it uses it.
func FingerprintSQL(ctx context.Context, c Conn, name string) (string, error) {
	all, err := tables(ctx, c)
	if err != nil {
		return "", err
	}
	return agree(all[name]).sumSQL(name, ""), nil
}

var Session = session

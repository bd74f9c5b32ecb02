package fault

import (
	"context"
	"fmt"

	"backout/harness/evidence"
)

// What is left on a disk that is full, and at least on one that is not: a node writes WAL in files of 16 MB.
const (
	fullBelow = 64 << 10
	roomAbove = 16 << 20
)

// fullDisk leaves no room on a node's disk.
type fullDisk struct {
	Place
	name string
}

func disk() Kind {
	return Kind{
		Name: "disk", Forms: []Form{{Text: "the disk of {target} is full"}}, On: []string{OnPrimary, OnStreaming, OnLogical},
		Needs: "give a node a disk of its own, and the machine's is never filled",
		Can:   func(p Place) bool { return p.Fill != nil && p.Free != nil && p.Room != nil },
		New:   func(w World, d evidence.DeclaredFault) Fault { return fullDisk{w.Place, d.Of} },
	}
}

func (f fullDisk) Inject(ctx context.Context) error { return f.Fill(ctx, f.name) }
func (f fullDisk) Lift(ctx context.Context) error   { return f.Free(ctx, f.name) }

func (f fullDisk) InForce(ctx context.Context) (string, bool, error) {
	seen, left, err := f.room(ctx)
	return seen, err == nil && left < fullBelow, err
}

func (f fullDisk) Gone(ctx context.Context) (string, bool, error) {
	seen, left, err := f.room(ctx)
	return seen, left >= roomAbove, err
}

func (f fullDisk) room(ctx context.Context) (seen string, left int64, err error) {
	if left, err = f.Room(ctx, f.name); err != nil {
		return "", 0, err
	}
	return fmt.Sprintf("the disk of %s has %d kB left", f.name, left>>10), left, nil
}

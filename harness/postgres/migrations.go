package postgres

import (
	"context"
	"fmt"
	"slices"

	"backout/harness/evidence"
)

// Migrations compares what goose has recorded on a node with what is really there, by the node's target: the recorded
// set must be the target's, and the schema must be the one that this set makes. An empty Down, which removes the record
// and leaves the schema, is bad, and so is the other way round. One finding CheckMigrations of the node.
func Migrations(ctx context.Context, n Opened, target Schema) []evidence.Finding {
	f := evidence.Finding{Check: evidence.CheckMigrations, Of: n.Name}
	found, err := ReadSchema(ctx, n)
	if err != nil {
		f.Error = err.Error()
		return []evidence.Finding{f}
	}
	f.Asked, f.Checked = true, int64(len(target.Applied))
	recorded, same := slices.Equal(found.Applied, target.Applied), found.Digest() == target.Digest()
	switch {
	case recorded && same:
		f.Text = fmt.Sprintf("%v recorded, and the schema is that of them", found.Applied)
		return []evidence.Finding{f}
	case recorded:
		f.Text = fmt.Sprintf("%v recorded, but the schema is not that of them", found.Applied)
		f.Rows = Differences(target.Text, found.Text)
	case same:
		f.Text = fmt.Sprintf("the schema is that of %v, but recorded is %v", target.Applied, found.Applied)
	default:
		f.Text = fmt.Sprintf("expected %v, recorded is %v", target.Applied, found.Applied)
		f.Rows = Differences(target.Text, found.Text)
	}
	f.Bad = int64(max(1, len(f.Rows)))
	f.Checked = max(f.Checked, f.Bad)
	f.Rows = f.Rows[:min(len(f.Rows), told)]
	return []evidence.Finding{f}
}

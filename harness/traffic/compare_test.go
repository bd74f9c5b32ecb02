package traffic

import (
	"math/big"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

func TestSame(t *testing.T) {
	ten := pgtype.Numeric{Int: big.NewInt(1000), Exp: -2, Valid: true}
	uuid := [16]byte{0xc4, 0x1f, 0x8b, 0x10, 0x9d, 0xad, 0x41, 0xd1, 0x80, 0xb4, 0, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}
	at := time.Date(2026, 11, 23, 6, 45, 12, 4000, time.UTC)
	for _, c := range []struct {
		sent  sent
		found any
		same  bool
	}{
		{sentJSON(`10`), ten, true},
		{sentJSON(`10.00`), ten, true},
		{sentText(`10.0`), ten, true},
		{sentJSON(`"10.00"`), ten, true},
		{sentJSON(`1e1`), ten, true},
		{sentJSON(`10.01`), ten, false},
		{sentText(``), ten, false},
		{sentJSON(`1e999`), ten, false},
		{sentJSON(`2`), int32(2), true},
		{sentJSON(`2`), int64(3), false},
		{sentJSON(`0.1`), float64(0.1), true},
		{sentJSON(`0.1`), float32(0.1), true},
		{sentJSON(`9.50`), "9.5", true},  // decimal text
		{sentText(`9.50`), "9.5", false}, // a text is itself
		{sentText(`sku-0001`), "sku-0001", true},
		{sentJSON(`"sku-0001"`), "sku-0002", false},
		{sentJSON(`null`), nil, true},
		{sentText(``), nil, false},
		{sentJSON(`null`), "", false},
		{sentJSON(`true`), true, true},
		{sentText(`t`), true, true},
		{sentJSON(`false`), true, false},
		{sentText(`2026-11-23T07:45:12.000004+01:00`), at, true},
		{sentText(`2026-11-23T06:45:12.0000041Z`), at, true},
		{sentText(`2026-11-23T06:45:13Z`), at, false},
		{sentText(`yesterday`), at, false},
		{sentText(`C41F8B10-9dad-41d1-80b4-00c04fd430c8`), uuid, true},
		{sentText(`C41F8B10-9dad-41d1-80b4-00c04fd430c9`), uuid, false},
		{sentJSON(`{"b":[1.0],"a":"x"}`), map[string]any{"a": "x", "b": []any{float64(1)}}, true},
		{sentJSON(`{"b":[2],"a":"x"}`), map[string]any{"a": "x", "b": []any{float64(1)}}, false},
		{sentJSON(`{"a":1}`), `{"a": 1.0}`, true},
	} {
		if same := c.sent.same(c.found); same != c.same {
			t.Errorf("sent %s, found %s (%T): same is %v", c.sent, foundText(c.found), c.found, same)
		}
	}
}

func TestFates(t *testing.T) {
	differ := []string{"total: sent 10, found 0"}
	for _, c := range []struct {
		name          string
		state, cancel state
		in            looked
		write, back   string
	}{
		{"kept", acknowledged, never, looked{rows: 1}, "kept", ""},
		{"transformed", acknowledged, never, looked{rows: 1, fields: differ}, "transformed", ""},
		{"lost", acknowledged, never, looked{}, "lost", ""},
		{"duplicated", acknowledged, never, looked{rows: 2}, "duplicated", ""},
		{"unknown, there", unknown, never, looked{rows: 1}, "kept", ""},
		{"unknown, not there", unknown, never, looked{}, "absent", ""},
		{"unknown, differs", unknown, never, looked{rows: 1, fields: differ}, "transformed", ""},
		{"unknown, twice", unknown, never, looked{rows: 2}, "duplicated", ""},
		{"refused, not there", refused, never, looked{}, "absent", ""},
		{"refused, yet there", refused, never, looked{rows: 1}, "phantom", ""},
		{"taken back", acknowledged, acknowledged, looked{}, "kept", "kept"},
		{"back again", acknowledged, acknowledged, looked{rows: 1}, "kept", "resurrected"},
		{"perhaps taken back, gone", acknowledged, unknown, looked{}, "kept", "kept"},
		{"perhaps taken back, there", acknowledged, unknown, looked{rows: 1}, "kept", "absent"},
		{"taking back refused", acknowledged, refused, looked{rows: 1}, "kept", "absent"},
		{"taking back refused, yet gone", acknowledged, refused, looked{}, "lost", "absent"},
	} {
		e := entry{state: c.state, cancel: c.cancel}
		if write, back, _ := e.fates(c.in); write != c.write || back != c.back {
			t.Errorf("%s: found %q, %q, expected %q, %q", c.name, write, back, c.write, c.back)
		}
	}
}

func TestEffectFate(t *testing.T) {
	for _, c := range []struct {
		state, cancel state
		count         int
		fate          string
	}{
		{acknowledged, never, 1, ""}, {acknowledged, never, 0, "lost"}, {acknowledged, never, 2, "duplicated"},
		{acknowledged, acknowledged, 0, ""}, {acknowledged, unknown, 1, ""}, {acknowledged, acknowledged, 2, "duplicated"},
		{acknowledged, refused, 0, "lost"}, {unknown, never, 0, ""}, {unknown, never, 1, ""}, {unknown, never, 2, "duplicated"},
		{refused, never, 0, ""}, {refused, never, 1, "duplicated"},
	} {
		e := entry{state: c.state, cancel: c.cancel}
		if fate := e.effectFate(c.count, 1); fate != c.fate {
			t.Errorf("%+v: found %q", c, fate)
		}
	}
}

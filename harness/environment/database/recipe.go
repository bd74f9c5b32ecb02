package database

import (
	"backout/harness/environment"
	"backout/harness/environment/artefact"
	"backout/harness/environment/wiring"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Recipe is all that a template depends on.
type Recipe struct {
	Format    int
	Version   string // of PostgreSQL
	Binaries  string // where its programs are from, or which image
	Settings  map[string]string
	Databases []Database
	Roles     []string // a role for each service, and NAME_migrator
}

// Database of one service.
type Database struct {
	Name       string
	Migrations map[string][]byte
	To         int64 // 0: all migrations
	Data       Data
	Publish    []string
	Logical    bool     // it is on the logical replica as well
	Readers    []string // other services that have its URL: they may read it
}

// NewRecipe takes from the services what their databases are made of. A template that is made in another way has another
// format; version is PostgreSQL's, binaries says where its programs are from.
func NewRecipe(format int, version, binaries string, need environment.Need) (Recipe, error) {
	r := Recipe{Format: format, Version: version, Binaries: binaries, Settings: Settings(need)}
	for _, s := range wiring.Services(need) {
		r.Roles = append(r.Roles, s.Name, wiring.Migrator(s.Name))
		if s.Database == nil {
			continue
		}
		rel := wiring.Release(need, s)
		files, err := artefact.Migrations(s, rel)
		if err != nil {
			return r, err
		}
		d := Database{Name: s.Name, Migrations: files, Publish: s.Database.Publish,
			Logical: s == need.Service || len(s.Database.Publish) > 0, Readers: wiring.Readers(need, s.Name)}
		if rel != nil {
			d.To = rel.MigrateTo
		}
		rows := maps.Clone(s.Database.Rows)
		if s == need.Service && len(need.Rows) > 0 {
			if rows == nil {
				rows = map[string]int{}
			}
			maps.Copy(rows, need.Rows)
		}
		if d.Data, err = DataOf(s, rows); err != nil {
			return r, err
		}
		r.Databases = append(r.Databases, d)
	}
	return r, nil
}

// Key is a digest of the recipe.
func (r Recipe) Key() (string, error) {
	text, err := json.Marshal(r) // the keys of maps are sorted
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}

// Logical says whether anything is published, so that there is a subscriber.
func (r Recipe) Logical() bool {
	return len(Subscribed(r.Databases)) > 0
}

// Settings of postgresql.conf for all nodes of a drill; those of service.yaml are laid over them.
func Settings(need environment.Need) map[string]string {
	all := map[string]string{
		"max_connections": "200",
		"log_lock_waits":  "on",
		// A replica that was held back for a while must be able to go on.
		"wal_keep_size": "1GB",
		"min_wal_size":  "64MB",
	}
	for _, s := range slices.Backward(wiring.Services(need)) { // the drilled service has the last word
		if s.Database != nil {
			maps.Copy(all, s.Database.Settings)
		}
	}
	return all
}

// NewPassword is a random password for the roles of one run.
func NewPassword() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never returns an error, see crypto/rand
	return hex.EncodeToString(raw)
}

func quote(name string) string   { return pgx.Identifier{name}.Sanitize() }
func table(name string) string   { return pgx.Identifier(strings.Split(name, ".")).Sanitize() }
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

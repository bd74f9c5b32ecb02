package postgres_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"backout/harness/postgres"
	"backout/harness/service"
)

// BenchmarkFingerprint compares the fingerprint of a table with an md5 per row summed in SQL, over the same columns
// with the same number of workers, and with count(*). BACKOUT_ROWS is the size of the table, a million unless stated;
// the figures that are promised are for 10 million. The three statements alternate; the ratios are of medians.
func BenchmarkFingerprint(b *testing.B) {
	rows := 1_000_000
	if v := os.Getenv("BACKOUT_ROWS"); v != "" {
		var err error
		if rows, err = strconv.Atoi(v); err != nil {
			b.Fatalf("BACKOUT_ROWS: a number was expected, found %q", v)
		}
	}
	const workers, rounds = 2, 5
	bin := binaries(b)
	ctx, top := b.Context(), open(b)
	if err := bin.Init(ctx, filepath.Join(top, "data"), password); err != nil {
		b.Fatal(err)
	}
	s, err := bin.Start(ctx, postgres.Start{Dir: filepath.Join(top, "data"), LogFile: filepath.Join(top, "log"), Settings: map[string]string{
		"max_parallel_workers": "8", "wal_level": "minimal", "max_wal_senders": "0", "max_wal_size": "4GB"}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Kill(context.Background())
	n, err := postgres.OpenNode(ctx, service.Node{Name: "primary", Role: "primary", URL: s.URL(password, "postgres")})
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	do(b, n, fmt.Sprintf(`create table orders (id bigint not null, client_key uuid not null, coupon_code text, quantity int not null,
			total numeric(12,2) not null, created_at timestamptz not null);
		insert into orders select i, gen_random_uuid(), case when i %% 3 = 0 then 'SAVE' || (i %% 100) end, i %% 7, i %% 1000 / 7.0,
			timestamptz '2025-01-01' + i * interval '1 second' from generate_series(1, %d) i;
		alter table orders add primary key (id)`, rows))
	do(b, n, "vacuum (analyze, freeze) orders")
	do(b, n, "alter table orders set (autovacuum_enabled = off)")

	c, err := postgres.Session(ctx, n)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, fmt.Sprintf("set max_parallel_workers_per_gather = %d", workers)); err != nil {
		b.Fatal(err)
	}
	fingerprint, err := postgres.FingerprintSQL(ctx, c, "public.orders")
	if err != nil {
		b.Fatal(err)
	}
	statements := []struct{ name, sql string }{
		{"count(*)", "select count(*) from public.orders"},
		{"fingerprint", fingerprint},
		{"md5", "select count(*), sum(('x' || substr(md5(concat_ws('|', client_key, coupon_code, created_at, id, quantity, total)), 1, 16))::bit(64)::bigint)::text from public.orders"},
	}
	times := make([][]time.Duration, len(statements))
	for b.Loop() {
		for _, q := range statements {
			plan, err := postgres.Texts(ctx, c, "explain "+q.sql)
			if err != nil {
				b.Fatal(err)
			}
			b.Logf("%s: %s\n%s", q.name, q.sql, plan)
			if !slices.ContainsFunc(plan, func(l string) bool {
				return l == fmt.Sprintf("        Workers Planned: %d", workers) || l == fmt.Sprintf("         Workers Planned: %d", workers)
			}) {
				b.Logf("%s is not planned with %d workers", q.name, workers)
			}
		}
		for range rounds + 1 {
			for i, q := range statements {
				begun := time.Now()
				if _, err := postgres.Texts(ctx, c, q.sql); err != nil {
					b.Fatal(err)
				}
				times[i] = append(times[i], time.Since(begun))
			}
		}
	}
	medians := make([]float64, len(statements))
	for i, q := range statements {
		t := times[i][1:] // the first one warms up
		slices.Sort(t)
		medians[i] = t[len(t)/2].Seconds()
		b.Logf("%-12s median %7.3f s, from %7.3f to %7.3f s, %d rows", q.name, medians[i], t[0].Seconds(), t[len(t)-1].Seconds(), rows)
	}
	b.ReportMetric(medians[2]/medians[1], "times-as-fast-as-md5")
	b.ReportMetric(medians[1]/medians[0], "times-count")
}

// BenchmarkFreeze copies a cohort of 100,000 orders with their lines and checks it where nothing has changed.
func BenchmarkFreeze(b *testing.B) {
	tr := nodes(b)
	n := database(b, tr, `create table orders (id bigint primary key, client_key uuid not null, coupon_code text, total numeric(12,2) not null, created_at timestamptz not null);
		insert into orders select i, gen_random_uuid(), 'SAVE', i, '2025-01-01' from generate_series(1, 100000) i;
		create table lines (order_id bigint, n int, sku text not null, quantity int not null, primary key (order_id, n));
		insert into lines select i, n, 'sku-0001', n from generate_series(1, 100000) i, generate_series(1, 2) n; analyze`)
	var copying, checking time.Duration
	for b.Loop() {
		begun := time.Now()
		f, err := postgres.Freeze(b.Context(), n, map[string]string{"orders": "created_at < '2026-01-01'", "lines": "true"})
		if err != nil {
			b.Fatal(err)
		}
		copying += time.Since(begun)
		begun = time.Now()
		for _, got := range f.Check(b.Context(), n) {
			if !got.Asked || got.Bad != 0 {
				b.Fatalf("%+v", got)
			}
		}
		checking += time.Since(begun)
		if err := f.Drop(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(copying.Seconds()/float64(b.N), "s-to-copy")
	b.ReportMetric(checking.Seconds()/float64(b.N), "s-to-check")
}

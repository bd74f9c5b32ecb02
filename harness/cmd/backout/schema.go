package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"backout/harness/postgres"
	"backout/harness/service"
)

func schemaCommand() *cobra.Command {
	var url, out, kind string
	c := &cobra.Command{
		Use:   "schema --url URL",
		Short: "Write production's schema down, so that drills say when theirs differs",
		Long: `Read the schema of a database and write it down, a line an object, with its digest in the first line. Grants, owners
and the positions of columns are left out, since they differ between installations of the same schema.

It only reads: the session is read-only, waits at most 50 ms for a lock and 500 ms for a statement.
Name the file in service.yaml (database: {production: ./production.schema}); a drill whose schema differs from it says
so in its headline. The URL may stand in the variable DATABASE_URL instead, where no list of processes shows it.`,
		Example: `  backout schema --url postgres://reader@db.example/web --out services/web/production.schema`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if kind != "" {
				text, err := schemaOf(kind)
				if err == nil {
					_, err = c.OutOrStdout().Write(text)
				}
				return err
			}
			if url == "" {
				url = os.Getenv("DATABASE_URL")
			}
			if url == "" {
				return errors.New("schema: expected --url URL or the variable DATABASE_URL, found neither")
			}
			s, err := productionSchema(c.Context(), url)
			if err != nil {
				return err
			}
			if out == "" {
				return postgres.WriteProduction(c.OutOrStdout(), s)
			}
			if err := writeFile(out, func(w io.Writer) error { return postgres.WriteProduction(w, s) }); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: %d objects\n", out, strings.Count(postgres.Portable(s.Text), "\n"))
			return nil
		},
	}
	c.Flags().StringVar(&url, "url", "", "of the database; never shown")
	c.Flags().StringVar(&kind, "json", "", "print the JSON Schema of service, release or plan instead, for editors")
	c.Flags().StringVar(&out, "out", "", "file to write; standard output when not given")
	return c
}

// schemaKinds are the files that people write.
func schemaKinds() []string { return []string{"service", "release", "plan"} }

// schemaOf is the JSON Schema of a kind of file.
func schemaOf(kind string) ([]byte, error) {
	text, err := service.Schemas.ReadFile("schemas/" + kind + ".schema.json")
	if err != nil {
		return nil, fmt.Errorf("schema --json %s: expected one of %s", kind, strings.Join(schemaKinds(), ", "))
	}
	return text, nil
}

// productionSchema reads with one read-only session. Errors do not show the URL, which may hold a password.
func productionSchema(ctx context.Context, url string) (postgres.Schema, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return postgres.Schema{}, errors.New("schema: --url cannot be read: expected postgres://USER@HOST/DATABASE")
	}
	config.ConnectTimeout = 10 * time.Second
	config.RuntimeParams["application_name"] = postgres.Application
	config.RuntimeParams["default_transaction_read_only"] = "on"
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		why := err.Error()
		if config.Password != "" {
			why = strings.ReplaceAll(why, config.Password, "[secret]")
		}
		return postgres.Schema{}, fmt.Errorf("schema: connect to %s at %s: %s", config.Database, config.Host, why)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return postgres.ReadSchema(ctx, conn)
}

// writeFile writes a file whole or not at all.
func writeFile(path string, content func(io.Writer) error) (err error) {
	part := path + ".part"
	f, err := os.Create(part)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err == nil {
			err = os.Rename(part, path)
		}
		if err != nil {
			err = errors.Join(err, os.Remove(part))
		}
	}()
	return content(f)
}

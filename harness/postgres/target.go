package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// TargetSchema is what the migrations in a folder give up to a number, on a fresh node of the same kind: a scratch
// database beside the node's own, with the same owner of the migrations, rights on schemas and default privileges. It
// is removed again. A standby takes no databases: its target is the primary's.
func TargetSchema(ctx context.Context, n Opened, migrations string, upTo int64) (_ Schema, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("schema of %s up to %d: %w", migrations, upTo, err)
		}
	}()
	name := scratchName("target")
	var owned string
	if err := n.QueryRow(ctx, `select pg_get_userbyid(datdba)::text from pg_database where datname = current_database()`).Scan(&owned); err != nil {
		return Schema{}, err
	}
	if _, err := n.Exec(ctx, fmt.Sprintf("create database %s owner %s template template0", quote(name), quote(owned))); err != nil {
		return Schema{}, err
	}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_, e := n.Exec(clean, "drop database "+quote(name)+" with (force)")
		err = errors.Join(err, e)
	}()
	prepare, err := texts(ctx, n, rights)
	if err != nil {
		return Schema{}, fmt.Errorf("read rights: %w", err)
	}
	c := n.Config().ConnConfig.Copy()
	c.Database = name
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return Schema{}, err
	}
	defer closeSoon(ctx, conn)
	for _, sql := range prepare {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return Schema{}, fmt.Errorf("%s: %w", sql, err)
		}
	}
	owner, err := texts(ctx, n, `select pg_get_userbyid(c.relowner)::text from pg_class c join pg_namespace s on s.oid = c.relnamespace
		where c.relname = $1 and c.relkind = 'r' and s.nspname !~ '^pg_' order by s.nspname <> 'public' limit 1`, GooseTable)
	if err != nil {
		return Schema{}, err
	}
	if len(owner) > 0 {
		c.RuntimeParams["role"] = owner[0]
	}
	db := stdlib.OpenDB(*c)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS(migrations), goose.WithSlog(slog.New(slog.DiscardHandler)), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return Schema{}, err
	}
	if _, err := provider.UpTo(ctx, upTo); err != nil {
		return Schema{}, err
	}
	s, err := ReadSchema(ctx, conn)
	if err != nil {
		return s, err
	}
	if len(s.Applied) == 0 || s.Applied[len(s.Applied)-1] != upTo {
		return s, fmt.Errorf("expected a migration with the number %d, found %s", upTo, strings.Trim(fmt.Sprint(s.Applied), "[]"))
	}
	return s, nil
}

// rights is statements that give a fresh database the rights on schema public and the default privileges of this one.
const rights = `
select 'revoke all on schema public from public'
union all select format('alter schema public owner to %I', pg_get_userbyid(nspowner)) from pg_namespace where nspname = 'public'
union all select format('grant %s on schema public to %s%s', a.privilege_type, case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end,
	case when a.is_grantable then ' with grant option' else '' end)
	from pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a where n.nspname = 'public'
union all select format('alter default privileges for role %I %s revoke all on %s from public', pg_get_userbyid(d.defaclrole), '', kind)
	from pg_default_acl d, lateral (select case d.defaclobjtype when 'f' then 'functions' when 'T' then 'types' end as kind) k
	where d.defaclnamespace = 0 and kind is not null and not exists (select from aclexplode(d.defaclacl) where grantee = 0)
union all select format('alter default privileges for role %I %s grant %s on %s to %s%s', pg_get_userbyid(d.defaclrole),
	coalesce('in schema ' || quote_ident(n.nspname), ''), a.privilege_type,
	case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions' when 'T' then 'types' else 'schemas' end,
	case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end, case when a.is_grantable then ' with grant option' else '' end)
	from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace, aclexplode(d.defaclacl) a
	where n.nspname = 'public' or d.defaclnamespace = 0`

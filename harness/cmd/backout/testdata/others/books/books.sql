create table books (id bigint generated always as identity primary key, title text not null, author text not null);
insert into books (title, author) select 'title ' || n, 'first' || n || ' last' || n from generate_series(1, :rows_books) n;

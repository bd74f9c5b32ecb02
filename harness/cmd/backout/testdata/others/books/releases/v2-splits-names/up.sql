begin;
alter table books add column author_before text;
update books set author_before = author, author = split_part(author, ' ', 1);
commit;

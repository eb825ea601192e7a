-- A mobile game, simulated: 20,000 players register over a quarter, one in twenty ever pays, most of those after the first week. How keen a
-- player is shows in the sessions long before. The draws are hashes, so that every run tells the same story.
create schema if not exists game;
create function game.draw(player int, which int) returns float8 language sql immutable
    return abs(hashint8extended(player * 1000003::bigint + which, 42) % 1000000) / 1e6;
create table game.players as
select i as player_id, date '2024-01-01' + i % 90 as registered,
       case when game.draw(i, 9) < i % 90 / 90.0 then 'ads' else 'friends' end as channel
from generate_series(1, 20000) i;
create table game.sessions as
select p.player_id, p.registered::timestamp + d * interval '1 day' + game.draw(p.player_id, 500 + d) * interval '23 hours' as started_at,
       case when game.draw(p.player_id, 700 + d) < game.draw(p.player_id, 1) / 2 then 'shop' else 'level' end as screen,
       round((5 + 40 * game.draw(p.player_id, 1))::numeric, 1) as minutes
from game.players p, generate_series(0, 60) d
where game.draw(p.player_id, 100 + d) < game.draw(p.player_id, 1) ^ 2 + 0.05;
create table game.payments as
select p.player_id, p.registered + d as paid_on, round((5 * exp(3 * game.draw(p.player_id, 3)))::numeric, 2) as amount
from game.players p, unnest('{9,16,30,45}'::int[]) d
where game.draw(p.player_id, 1) > 0.9 and game.draw(p.player_id, 2) < 0.4
union all select p.player_id, p.registered + 2, 4.99 from game.players p where game.draw(p.player_id, 4) < 0.01;

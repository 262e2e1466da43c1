-- Values with a rule. A domain says the rule once, for every column that holds such a value, and
-- costs next to nothing: PostgreSQL reads and plans a table's CHECK constraints anew in every
-- statement, which made an update of a counter three times as dear.
--
-- NaN passes a ">= 0" check, so it is named.

create domain private.usd as numeric(24, 12)
constraint usd_is_an_amount check (value >= 0 and value <> 'NaN');

comment on domain private.usd is 'US dollars, 0 or more, exact to 12 decimals.';

create domain private.usd_sum as numeric(36, 12)
constraint usd_sum_is_an_amount check (value >= 0 and value <> 'NaN');

comment on domain private.usd_sum is
  'A sum of many amounts: US dollars, 0 or more, exact to 12 decimals.';

create domain private.usd_balance as numeric(36, 12)
constraint usd_balance_is_finite check (value <> 'NaN');

comment on domain private.usd_balance is
  'A sum of amounts of either sign: US dollars, exact to 12 decimals.';

create domain private.percent as numeric(9, 4)
constraint percent_is_from_minus_100 check (value >= -100 and value <> 'NaN');

comment on domain private.percent is
  'By how many percent something is raised or, below 0, lowered.';

create domain private.share as numeric(5, 2)
constraint share_is_from_0_to_100 check (value between 0 and 100);

comment on domain private.share is 'How much of a whole something gets, percent.';

create domain private.variance as numeric(24, 4)
constraint variance_is_finite check (value <> 'NaN');

comment on domain private.variance is
  'By how many percent something differs from what was expected of it.';

create domain private.book_amount as numeric(24, 4)
constraint book_amount_is_finite check (value <> 'NaN');

comment on domain private.book_amount is
  'An amount in the books: above 0 debit, below 0 credit, exact to 4 decimals.';

create domain private.token_count as integer
constraint token_count_is_not_negative check (value >= 0);

comment on domain private.token_count is 'Tokens of one call.';

create domain private.sum_of_counts as bigint
constraint sum_of_counts_is_not_negative check (value >= 0);

comment on domain private.sum_of_counts is 'A number of calls, or of tokens over many calls.';

create domain private.label as text
constraint label_is_1_to_255_characters check (value ~ '\S' and length(value) <= 255);

comment on domain private.label is 'A name or key: 1 to 255 characters, not blank.';

create domain private.sha256_hex as text
constraint sha256_hex_is_64_digits check (value ~ '^[0-9a-f]{64}$');

comment on domain private.sha256_hex is 'SHA-256 in hexadecimal.';

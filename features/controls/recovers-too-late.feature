@control @database @gate
Feature: Control: a recovery up to when somebody noticed

  The recovery ends well and loses nothing. But it goes on until the alarm came, and by then the migration had rounded every total:
  the damage is recovered with the table.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The table is recovered as the migration left it
    When release "v2-whole-amounts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "recovers-too-late"
    Then the drill fails because "rows that nobody touched are unchanged"

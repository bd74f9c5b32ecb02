@control @together @gate
Feature: Control: a plan stops half-way and stays there

  The schema cannot go back, because somebody made a view of the column. The plan stops there: the code is that of before, and of the
  schema one half has gone.

  Background:
    Given the service "diner"
    And 40 journeys per second by 20 users

  Scenario: The schema is left half-way
    When release "v2-tables" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "stops-half-way"
    Then the drill fails because "every node has the schema of before"

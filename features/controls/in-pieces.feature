@control @operators @gate
Feature: Control: a script that is not one transaction, broken off in its midst

  Its first statement adds a difference, the later ones write down that it was added. The machine dies in between.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: What was added before the machine died is added again
    When release "v2-corrupts-totals" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "in-pieces"
    And the machine that runs it dies when step 1 says "UPDATE"
    Then the drill fails because "rows that nobody touched are unchanged"

@control @database @gate
Feature: Control: a script that exits 1 having done everything

  Everything is rolled back, on every node. The last command looks for errors and exits with 1 because it finds none.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users

  Scenario: The last step does its work and ends with 1
    When release "v2" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by the plan "fails-at-the-end"
    Then the drill fails because "the plan ran as written"

@control @database @gate
Feature: Control: a rename that is taken back as a drop and an add

  In the difference of two schemas a rename looks like one column that goes and another that comes. The schema is
  right in the end, and every order that was taken back stands again.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The column comes back empty
    When release "v2-renames-a-column" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "adds-it-back"
    Then the drill fails because "no write that was taken back is there again"
